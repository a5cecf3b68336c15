"""Images that a model takes, and arrays and files that it refuses."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import handviz
from handviz.core.errors import ErrorCode
from handviz.sources import images as images_module
from tests.api.images import GREY, assert_same, clip_frame
from tests.errors import raises


def test_views_and_read_only_arrays_are_images(load: Callable[..., handviz.Model]) -> None:
    image = np.ascontiguousarray(np.linspace(0, 255, 240 * 320 * 3).reshape(240, 320, 3).astype(np.uint8))
    model = load()
    expected = model(image)
    read_only = image.copy()
    read_only.flags.writeable = False
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    padded = np.zeros((240, 400, 4), np.uint8)
    padded[:, :320, :3] = image
    views = [read_only, bgr[:, :, ::-1], padded[:, :320, :3], np.asfortranarray(image), image[::-1].copy()[::-1]]
    for view in views:
        assert_same(model(view), expected)


@pytest.mark.slow
def test_the_shipped_model_takes_views_read_only_arrays_and_paths_alike(tmp_path: Path) -> None:
    image = clip_frame()
    read_only = image[:, :, ::-1].copy()[:, :, ::-1]
    read_only.flags.writeable = False
    Image.fromarray(image).save(tmp_path / "a.png")
    with handviz.load("final", device="cpu") as model:
        expected = model(image)
        for same in (read_only, tmp_path / "a.png", str(tmp_path / "a.png")):
            assert_same(model(same), expected)
        assert_same(model(image), expected)
    assert_same(handviz.reconstruct(tmp_path / "a.png", device="cpu"), expected)
    assert [hand.handedness for hand in expected] == ["right"]


@pytest.mark.parametrize(
    ("image", "code", "remedy"),
    [
        (GREY.astype(np.float32) / 255, ErrorCode.WRONG_SHAPE, "255"),
        (GREY.astype(np.int64), ErrorCode.WRONG_SHAPE, "astype"),
        (GREY > 3, ErrorCode.WRONG_SHAPE, "astype"),
        (GREY[:, :, 0], ErrorCode.WRONG_SHAPE, "grey"),
        (GREY[:, :, :1], ErrorCode.WRONG_SHAPE, "grey"),
        (np.dstack([GREY, GREY[:, :, :1]]), ErrorCode.WRONG_SHAPE, "alpha"),
        (GREY.transpose(2, 0, 1), ErrorCode.WRONG_SHAPE, "transpose"),
        (GREY[None], ErrorCode.WRONG_SHAPE, "one image"),
        (GREY[:, 0, 0], ErrorCode.WRONG_SHAPE, "(H, W, 3)"),
        (np.zeros((0, 320, 3), np.uint8), ErrorCode.EMPTY_INPUT, "empty"),
        (GREY.tolist(), ErrorCode.WRONG_SHAPE, "list"),
        (None, ErrorCode.WRONG_SHAPE, "NoneType"),
        (Image.fromarray(GREY), ErrorCode.WRONG_SHAPE, "asarray"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_arrays_that_are_no_images(model: handviz.Model, image: Any, code: ErrorCode, remedy: str) -> None:
    with raises(code) as caught:
        model(image)
    assert remedy in str(caught.value)
    assert "(H, W, 3)" in str(caught.value)


def test_an_array_that_is_too_large(model: handviz.Model) -> None:
    side = int(images_module.MAX_IMAGE_PX**0.5) + 1
    with raises(ErrorCode.TOO_LARGE):
        model(np.broadcast_to(np.uint8(0), (side, side, 3)))


def test_files_that_are_no_images(model: handviz.Model, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    (tmp_path / "b.jpg").write_bytes(b"")
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"a\.jpg"):
        model(tmp_path / "a.jpg")
    with raises(ErrorCode.EMPTY_INPUT, match=r"b\.jpg"):
        model(str(tmp_path / "b.jpg"))
    with raises(ErrorCode.FILE_MISSING, match=r"absent\.jpg"):
        model(tmp_path / "absent.jpg")


def test_an_image_without_hands_and_one_of_a_few_pixels(model: handviz.Model) -> None:
    assert model(np.zeros((240, 320, 3), np.uint8)) == []
    assert model(np.zeros((1, 1, 3), np.uint8)) == []


def test_what_cannot_be_told_from_the_array_is_said() -> None:
    assert "BGR" in (inspect.getdoc(handviz.Model.__call__) or "")
