"""Rig files: what they state is read, and everything that is wrong with them is named before a source is opened."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.camera_files import camera_model_text, opencv_text
from handviz.core.camera_model import CameraModel
from handviz.core.errors import ErrorCode
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import Frame, Intrinsics
from handviz.sources.rig import Rig, read_rig, rig_text, write_rig
from tests.errors import raises

SIZE = (640, 480)
K = [[600.0, 0, 319.5], [0, 610.0, 239.5], [0, 0, 1]]
TURNED = Rotation.from_euler("xyz", (10, -30, 5), degrees=True).as_matrix()


def entry() -> dict[str, Any]:
    """Return a correct rig of two cameras."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = TURNED, (0.3, 0, 0.1)
    inline = {"image_width": 640, "image_height": 480, "camera_matrix": copy.deepcopy(K)}
    return {
        "format": "handviz rig",
        "version": 1,
        "views": [
            {"name": "left", "source": "left.mp4", "intrinsics": inline, "camera_from_world": pose.tolist()},
            {
                "name": "right",
                "source": "clips/right.mp4",
                "intrinsics": {**copy.deepcopy(inline), "distortion": [0.1, -0.02, 0, 0]},
                "camera_from_world": {"rotation": np.eye(3).tolist(), "translation_m": [0, 0, 0.5]},
                "time_offset_ms": -12.5,
            },
        ],
    }


def written(folder: Path, content: Any) -> Path:
    """Write a rig file of any content."""
    path = folder / "RIG.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_rig_is_read_as_it_is_stated(tmp_path: Path) -> None:
    left, right = read_rig(written(tmp_path, entry())).views
    assert (left.name, left.source, left.time_offset_ms) == ("left", tmp_path / "left.mp4", 0.0)
    np.testing.assert_allclose(left.camera_from_world[:3, :3], TURNED)
    known = left.camera.known
    # OpenCV's pixel centres lie at whole numbers.
    assert known is not None
    assert (known.centre_x_px, known.centre_y_px, known.focal_px, known.focal_y_px) == (320, 240, 600, 610)
    assert (left.camera.known_size, left.distortion) == (SIZE, None)
    assert (right.source, right.time_offset_ms) == (tmp_path / "clips" / "right.mp4", -12.5)
    assert right.distortion is not None
    np.testing.assert_allclose(right.camera_from_world[:3, 3], [0, 0, 0.5])


def test_intrinsics_may_lie_in_a_file_of_handviz_or_opencv(tmp_path: Path) -> None:
    known = Intrinsics(500.0, 330.0, 250.0, 505.0, origin="calibrated")
    camera = CameraModel(mode="intrinsics", known=known, known_size=SIZE)
    content = entry()
    content["views"][0]["intrinsics"], content["views"][1]["intrinsics"] = "a.json", "b.yml"
    content["views"][1]["distortion"] = [0.1, 0, 0, 0]
    (tmp_path / "a.json").write_text(camera_model_text(camera))
    (tmp_path / "b.yml").write_text(opencv_text(camera))
    views = read_rig(written(tmp_path, content)).views
    for view in views:
        assert view.camera.known is not None
        np.testing.assert_allclose(view.camera.known.matrix, known.matrix)
    assert views[1].distortion is not None
    (tmp_path / "a.json").write_text(camera_model_text(CameraModel()))
    with raises(ErrorCode.BAD_VALUE, match="left"):
        read_rig(written(tmp_path, content))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rig = read_rig(written(tmp_path, entry()))
    write_rig(tmp_path / "again.json", rig)
    again = read_rig(tmp_path / "again.json")
    for one, other in zip(rig.views, again.views, strict=True):
        assert (one.name, one.source, one.camera, one.time_offset_ms) == (
            other.name,
            other.source,
            other.camera,
            other.time_offset_ms,
        )
        np.testing.assert_allclose(one.camera_from_world, other.camera_from_world, atol=1e-12)
    np.testing.assert_array_equal(again.views[1].distortion, [0.1, -0.02, 0, 0])
    with raises(ErrorCode.BAD_VALUE):
        rig_text(rig, tmp_path / "elsewhere")


def test_the_guide_s_example_is_a_rig(tmp_path: Path) -> None:
    page = (PROJECT_ROOT / "docs" / "guide" / "several_cameras.md").read_text(encoding="utf-8")
    example = page.split("```json\n")[1].split("```")[0]
    known = Intrinsics(900.0, 640.0, 360.0, origin="calibrated")
    camera = CameraModel(mode="intrinsics", known=known, known_size=(1280, 720))
    (tmp_path / "right.yml").write_text(opencv_text(camera))
    assert [view.name for view in read_rig(written(tmp_path, example)).views] == ["left", "right"]


def put(*places: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return the change of one entry."""

    def change(content: Any) -> None:
        for place in places[:-1]:
            content = content[place]
        content[places[-1]] = value

    return change


FIRST = ("views", 0)
WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], ErrorCode, str]] = {
    "no format": (put("format", value="rig"), ErrorCode.FILE_DAMAGED, "format"),
    "later version": (put("version", value=2), ErrorCode.VERSION_MISMATCH, "version"),
    "true is no version": (put("version", value=True), ErrorCode.VERSION_MISMATCH, "version"),
    "unknown key": (put("camera", value=1), ErrorCode.BAD_VALUE, "'camera'"),
    "unknown key of a view": (put(*FIRST, "camera_to_world", value=1), ErrorCode.BAD_VALUE, "camera_to_world"),
    "one view": (put("views", value=[{}]), ErrorCode.BAD_VALUE, "2 to 8"),
    "nine views": (put("views", value=[{}] * 9), ErrorCode.BAD_VALUE, "2 to 8"),
    "view of another kind": (put(*FIRST, value=3), ErrorCode.BAD_VALUE, "view 0"),
    "no name": (put(*FIRST, "name", value=""), ErrorCode.BAD_VALUE, "name"),
    "long name": (put(*FIRST, "name", value="a" * 61), ErrorCode.BAD_VALUE, "name"),
    "name with a line": (put(*FIRST, "name", value="a\nb"), ErrorCode.BAD_VALUE, "name"),
    "name as a path": (put(*FIRST, "name", value="../a"), ErrorCode.BAD_VALUE, "slashes"),
    "same name": (put(*FIRST, "name", value="RIGHT"), ErrorCode.BAD_VALUE, "one name"),
    "same source": (put(*FIRST, "source", value="clips/right.mp4"), ErrorCode.BAD_VALUE, "one source"),
    "absolute path": (put(*FIRST, "source", value="/etc/passwd"), ErrorCode.UNSAFE_FILE, "outside"),
    "path of a drive": (put(*FIRST, "source", value="C:\\a.mp4"), ErrorCode.UNSAFE_FILE, "outside"),
    "path upwards": (put(*FIRST, "source", value="a/../../b.mp4"), ErrorCode.UNSAFE_FILE, "outside"),
    "camera file outside": (put(*FIRST, "intrinsics", value="../k.yml"), ErrorCode.UNSAFE_FILE, "outside"),
    "camera file missing": (put(*FIRST, "intrinsics", value="k.yml"), ErrorCode.FILE_MISSING, "k.yml"),
    "no intrinsics": (put(*FIRST, "intrinsics", value=None), ErrorCode.BAD_VALUE, "intrinsics"),
    "size of texts": (put(*FIRST, "intrinsics", "image_width", value="640"), ErrorCode.BAD_VALUE, "image_width"),
    "half a pixel": (put(*FIRST, "intrinsics", "image_width", value=640.5), ErrorCode.BAD_VALUE, "whole"),
    "K of a row": (put(*FIRST, "intrinsics", "camera_matrix", value=[1] * 9), ErrorCode.BAD_VALUE, "camera_matrix"),
    "K of texts": (
        put(*FIRST, "intrinsics", "camera_matrix", value=[["600", 0, 1], [0, 1, 1], [0, 0, 1]]),
        ErrorCode.BAD_VALUE,
        "camera_matrix",
    ),
    "K with a skew": (put(*FIRST, "intrinsics", "camera_matrix", 0, 1, value=5), ErrorCode.BAD_VALUE, "left"),
    "no focal length": (put(*FIRST, "intrinsics", "camera_matrix", 0, 0, value=0.5), ErrorCode.BAD_VALUE, "left"),
    "infinite": (put(*FIRST, "camera_from_world", 0, 3, value=1e999), ErrorCode.FILE_DAMAGED, "RIG"),
    "huge integer": (put(*FIRST, "camera_from_world", 0, 3, value=10**400), ErrorCode.BAD_VALUE, "left"),
    "true": (put(*FIRST, "camera_from_world", 3, 3, value=True), ErrorCode.BAD_VALUE, "camera_from_world"),
    "millimetres": (put(*FIRST, "camera_from_world", 0, 3, value=300), ErrorCode.BAD_VALUE, "metres"),
    "last row": (put(*FIRST, "camera_from_world", 3, 0, value=1), ErrorCode.BAD_VALUE, "last row"),
    "scaled": (
        put("views", 1, "camera_from_world", "rotation", value=(2 * np.eye(3)).tolist()),
        ErrorCode.BAD_VALUE,
        "orthonormal",
    ),
    "mirrored": (
        put("views", 1, "camera_from_world", "rotation", value=np.diag([-1, 1, 1]).tolist()),
        ErrorCode.BAD_VALUE,
        "right is a mirrored camera",
    ),
    "no translation": (
        put("views", 1, "camera_from_world", value={"rotation": np.eye(3).tolist()}),
        ErrorCode.BAD_VALUE,
        "translation_m",
    ),
    "distortion of three": (put(*FIRST, "distortion", value=[0.1, 0, 0]), ErrorCode.BAD_VALUE, "distortion"),
    "too much distortion": (put(*FIRST, "distortion", value=[1e6, 0, 0, 0]), ErrorCode.BAD_VALUE, "distortion"),
    "distortion twice": (put("views", 1, "distortion", value=[0.1, 0, 0, 0]), ErrorCode.BAD_VALUE, "twice"),
    "offset of a week": (put(*FIRST, "time_offset_ms", value=7 * 86.4e6), ErrorCode.BAD_VALUE, "time_offset_ms"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, what: str) -> None:
    change, code, match = WRONG[what]
    content = entry()
    change(content)
    with raises(code, match=match):
        read_rig(written(tmp_path, content))


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "[" * 100_000, "\0", '{"format": 1, "format": 2}', "1" * 5000, '{"version": NaN}']
)
def test_what_is_no_rig_is_an_error(tmp_path: Path, content: str) -> None:
    with raises(ErrorCode.FILE_DAMAGED, ErrorCode.BAD_VALUE, match="RIG"):
        read_rig(written(tmp_path, content))


def test_large_and_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with raises(ErrorCode.TOO_LARGE):
        read_rig(written(tmp_path, " " * 1_000_001))
    with raises(ErrorCode.FILE_MISSING):
        read_rig(tmp_path / "none.json")
    with raises(ErrorCode.FILE_UNREADABLE):
        read_rig(tmp_path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rig"
    folder.mkdir()
    try:
        (folder / "left.mp4").symlink_to(tmp_path / "else.mp4")
    except OSError:
        pytest.skip("no symbolic links here")
    with raises(ErrorCode.UNSAFE_FILE, match="left"):
        read_rig(written(folder, entry()))


# Images.


def rig_of(tmp_path: Path) -> Rig:
    """Return the correct rig."""
    return read_rig(written(tmp_path, entry()))


def test_undistorted_images_show_points_where_the_pinhole_projects_them(tmp_path: Path) -> None:
    view = rig_of(tmp_path).views[1]
    assert view.distortion is not None
    point_m = np.array([0.25, -0.15, 0.7])
    pixel = cv2.projectPoints(point_m[None], np.zeros(3), np.zeros(3), np.array(K), view.distortion)[0][0, 0]
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(image, (round(pixel[0] * 16), round(pixel[1] * 16)), 5 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    frame, camera = view.undistorted(Frame(0, image, 0.0))
    weight = frame.image[..., 0].astype(float)
    rows, columns = np.indices(weight.shape) + 0.5
    centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    expected = camera.intrinsics.project(point_m)
    assert np.linalg.norm(pixel + 0.5 - expected) > 3
    np.testing.assert_allclose(centre, expected, atol=0.2)


def test_images_of_half_the_size_have_half_the_focal_length_and_others_are_refused(tmp_path: Path) -> None:
    view = rig_of(tmp_path).views[0]
    image = np.zeros((240, 320, 3), np.uint8)
    frame, camera = view.undistorted(Frame(0, image, 0.0))
    assert frame.image is image
    assert camera.intrinsics.focal_px == 300
    with raises(ErrorCode.FILES_DISAGREE, match="left"):
        view.undistorted(Frame(0, np.zeros((480, 480, 3), np.uint8), 0.0))
