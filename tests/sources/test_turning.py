"""Rotated frames, against Pillow's rotation."""

import numpy as np
import pytest
from gui_fakes import frame
from PIL import Image

from handviz.core.records import Frame
from handviz.sources.images import ROTATIONS_DEG, rotated_frame


@pytest.mark.parametrize("rotation_angle_deg", ROTATIONS_DEG)
def test_images_are_turned_clockwise(rotation_angle_deg: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    result = rotated_frame(Frame(3, image, 7.0, "a.png", 40.0), rotation_angle_deg)
    expected = np.asarray(Image.fromarray(image).rotate(-rotation_angle_deg, expand=True))
    np.testing.assert_array_equal(result.image, expected)
    assert result.image.flags.c_contiguous
    assert (result.number, result.name, result.time_ms, result.rotation_deg) == (3, "a.png", 40.0, rotation_angle_deg)


def test_only_quarter_turns_are_possible() -> None:
    with pytest.raises(ValueError, match="45"):
        rotated_frame(frame(), 45)
