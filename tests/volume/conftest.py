import pytest

from cardiac_motion.volume.phantom import phantom


@pytest.fixture
def volume():
    """Values and labels of a synthetic volume."""
    return phantom(3)
