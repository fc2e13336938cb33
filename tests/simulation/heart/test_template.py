import math

import nibabel
import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.anatomy import left_ventricle
from cardiac_motion.simulation.heart.template import find_sector, find_templates, read_template, template_from_frame
from tests.ventricle.test_mesh import painted

SPACING = (0.5, 0.5)
SHAPE = (240, 260)


def framed(apex=(-4.0, 66.0), depth=118.0, half=0.6632, shape=SHAPE):
    """A noisy sector on black, values 0 to 255."""
    rows, columns = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, SPACING, strict=True)), indexing="ij")
    gap = np.stack([rows - apex[0], columns - apex[1]])
    inside = (np.hypot(*gap) < depth) & (np.abs(np.arctan2(gap[1], gap[0])) < half)
    noise = np.random.default_rng(0).uniform(20, 200, shape)
    return np.where(inside, noise, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def mask():
    endo, epi = (contour + [12.0, 66.0] for contour in left_ventricle(length=70, width=40))
    return painted(endo, epi, SHAPE)


def test_the_sector_is_found_where_it_was_drawn():
    apex, depth, half = find_sector(framed().astype(float), SPACING)
    assert apex == pytest.approx((-4.0, 66.0), abs=1.0)
    assert depth == pytest.approx(118.0, rel=0.01)
    assert math.degrees(half) == pytest.approx(38, abs=0.5)


def test_a_template_lies_in_the_coordinates_of_its_probe(mask):
    template = template_from_frame(framed(), mask, SPACING, mask)
    middle = template.mesh.nodes.mean(0)
    wall = np.argwhere(mask == 2).mean(0) * 0.5
    np.testing.assert_allclose(middle, wall - [-4.0, 66.0], atol=2.0)
    np.testing.assert_allclose(template.end_systole, template.mesh.nodes)
    assert template.static
    assert 0 <= template.brightness.min() and template.brightness.max() <= 1


def test_brightness_is_grey_to_the_power_of_one_over_gamma(mask):
    template = template_from_frame(np.where(framed() > 0, 128, 0), mask, SPACING, gamma=0.5)
    assert template.brightness[120, 130] == pytest.approx((128 / 255) ** 2, rel=1e-3)


def test_the_background_does_not_hold_the_wall(mask):
    frame = np.where(mask == 2, 255, np.where(framed() > 0, 60, 0))
    template = template_from_frame(frame, mask, SPACING)
    background = template.background()
    assert template.brightness[mask == 2].mean() > 0.5
    assert background[mask == 2].max() < 0.2


def test_what_cannot_be_a_template_is_refused(mask):
    frame = framed()
    with pytest.raises(InputError, match=r"p3: the frame's shape \(240, 260\) differs from its mask's \(120, 260\)"):
        template_from_frame(frame, mask[::2], SPACING, name="p3")
    with pytest.raises(InputError, match="end-systole mask's shape"):
        template_from_frame(frame, mask, SPACING, mask[:, ::2])
    with pytest.raises(InputError, match="p3 \\(end-diastole\\): no myocardium"):
        template_from_frame(frame, np.where(mask == 2, 0, mask), SPACING, name="p3")
    with pytest.raises(InputError, match="edges of the imaging sector"):
        template_from_frame(np.where(np.arange(260) < 8, frame, 0), mask, SPACING)
    with pytest.raises(InputError, match="no imaging sector"):
        template_from_frame(np.where(np.arange(240)[:, None] < 8, frame, 0), mask, SPACING)
    with pytest.raises(InputError, match="grey values must be from 0 to 255"):
        template_from_frame(frame / 255, mask, SPACING)
    with pytest.raises(InputError, match="gamma"):
        template_from_frame(frame, mask, SPACING, gamma=3)


def stored(folder, mask, name="patient0001"):
    case = folder / name
    case.mkdir(parents=True)
    for suffix, array in (("ED", framed()), ("ED_gt", mask), ("ES", framed()), ("ES_gt", mask)):
        image = nibabel.Nifti1Image(array.T.astype(np.uint8), np.eye(4))
        image.header.set_zooms(SPACING[::-1])
        nibabel.save(image, case / f"{name}_4CH_{suffix}.nii.gz")


def test_templates_are_found_and_read(tmp_path, mask):
    stored(tmp_path, mask)
    ((name, frame, labels, late),) = find_templates(tmp_path)
    assert name == "patient0001" and late is not None
    assert read_template(frame, labels, late).mesh.nodes.shape == (180, 2)
    labels.write_bytes(b"not gzip")
    with pytest.raises(InputError, match=r"patient0001_4CH_ED_gt\.nii\.gz: not a readable NIfTI file"):
        read_template(frame, labels)
    labels.unlink()
    with pytest.raises(InputError, match="no such file"):
        read_template(frame, labels)
    with pytest.raises(InputError, match="no such folder of templates"):
        find_templates(tmp_path / "nowhere")
    with pytest.raises(InputError, match="contains no templates named"):
        find_templates(tmp_path, patients=["patient0099"])
