"""Headless Chromium for tests: ``pytestmark = needs_browser``, and the fixture ``browser`` of ``conftest``."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium")
needs_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
