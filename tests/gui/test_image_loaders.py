"""Images of the folder inspector: the crop of a hand is the one that its model took."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handviz.gui.folder.image_loaders import PreviewRequest, read_preview
from handviz.inspection.columns import ImageRow
from handviz.inspection.store import InspectionStore, Signature, StoredImage
from handviz.io.hand_pack import pack_hands
from tests.hands import made_up_detection, made_up_hand
from tests.made_up_families import installed, made_up_family

COLOUR = (200, 120, 40)


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Write an image of one colour; return its name."""
    Image.fromarray(np.full((480, 640, 3), COLOUR, np.uint8)).save(tmp_path / "a.png")
    return "a.png"


def crop_shown(folder: Path, file: str, model: str) -> np.ndarray:
    """Return the crop that is shown of a hand which this model gave."""
    path, hand = folder / "results.sqlite", replace(made_up_hand(), model=model)
    stored = StoredImage(Signature(0, 0), ImageRow(file, "done", width=640, height=480), np.zeros((1, 21, 3)))
    with InspectionStore(path) as store:
        store.put(stored, pack_hands([hand], [made_up_detection("right")]))
    (crop,) = read_preview(PreviewRequest(folder, file, path)).crops
    return crop


@pytest.mark.parametrize("model", ["final", "uninstalled"])
def test_the_crop_has_the_colours_of_the_image(tmp_path: Path, image: str, model: str) -> None:
    crop = crop_shown(tmp_path, image, model)
    assert (crop.shape, crop.dtype) == ((224, 224, 3), np.dtype(np.uint8))
    assert tuple(crop[112, 112]) == COLOUR


def test_the_crop_has_the_side_of_the_model(tmp_path: Path, image: str) -> None:
    with installed(stranger=made_up_family()):
        assert crop_shown(tmp_path, image, "plain").shape == (128, 128, 3)
