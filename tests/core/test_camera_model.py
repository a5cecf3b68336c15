"""Camera models for images of any size, and their files, hostile ones too."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from handviz.core.camera_files import (
    camera_model_from_text,
    camera_model_text,
    hand_size_from_text,
    hand_size_text,
    opencv_text,
    read_camera_file,
)
from handviz.core.camera_model import (
    ASSUMED_CAMERA,
    AngleSide,
    CameraModel,
    HandSize,
    angle_of_equivalent_deg,
    angles_deg,
    camera_model_of_intrinsics,
)
from handviz.core.errors import ErrorCode
from handviz.core.geometry import project_points, rotated
from handviz.core.records import Intrinsics
from tests.errors import raises

KNOWN = Intrinsics(900.0, 650.0, 350.0, 910.0, origin="calibrated", focal_std_fraction=0.004)
MEASURED = camera_model_of_intrinsics(KNOWN, (1280, 720))


def test_nothing_known_is_said_to_be_assumed() -> None:
    camera = ASSUMED_CAMERA.intrinsics_for(640, 480)
    assert (camera.origin, camera.focal_std_fraction) == ("assumed", 0.2)
    assert angles_deg(camera, 640, 480)[0] == pytest.approx(60)


@pytest.mark.parametrize(("side", "which"), [("horizontal", 0), ("vertical", 1), ("diagonal", 2)])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1280, 720)])
def test_an_angle_spans_what_it_is_said_to_span(side: AngleSide, which: int, size: tuple[int, int]) -> None:
    camera = CameraModel("angle", 70.0, side).intrinsics_for(*size)
    assert angles_deg(camera, *size)[which] == pytest.approx(70.0)
    assert camera.origin == "stated"


def test_opencv_finds_the_same_angles() -> None:
    horizontal, vertical, _, _, _ = cv2.calibrationMatrixValues(KNOWN.matrix, (1280, 720), 1.0, 1.0)
    # OpenCV measures from the centre to both sides, ours are of a centred image: nearly the same here.
    np.testing.assert_allclose(angles_deg(KNOWN, 1280, 720)[:2], (horizontal, vertical), atol=0.1)


def test_26_mm_is_a_telephone() -> None:
    assert angle_of_equivalent_deg(26) == pytest.approx(
        math.degrees(2 * math.atan(math.hypot(24, 36) / 2 / 26)), abs=0.1
    )


def test_a_measured_camera_model_scales_with_the_image() -> None:
    camera = MEASURED.intrinsics_for(640, 360)
    np.testing.assert_allclose([*camera.focals_px, *camera.centre_px], [450, 455, 325, 175])
    assert camera.focal_std_fraction == 0.004
    assert MEASURED.caveat_for(640, 360) == ""
    assert MEASURED.intrinsics_for(1280, 720) == KNOWN


def test_another_shape_is_the_middle_of_the_known_one_and_doubted() -> None:
    """A point of the 16:9 image is at the matching pixel of the 4:3 image cut out of its centre."""
    camera = MEASURED.intrinsics_for(640, 480)
    point = np.array([0.1, -0.05, 0.6])
    in_cut = (project_points(point, KNOWN) - [160, 0]) * 480 / 720
    np.testing.assert_allclose(project_points(point, camera), in_cut)
    assert camera.focal_std_fraction > 0.1
    assert "1280x720" in MEASURED.caveat_for(640, 480)


def test_a_standing_image_turns_the_camera_model() -> None:
    camera = MEASURED.intrinsics_for(720, 1280)
    np.testing.assert_allclose([*camera.focals_px, *camera.centre_px], [910, 900, 370, 650])
    assert MEASURED.caveat_for(720, 1280) == ""


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_a_turned_image_has_the_turned_camera_model(rotation_deg: int) -> None:
    size = (720, 1280) if rotation_deg % 180 else (1280, 720)
    assert MEASURED.intrinsics_of(*size, rotation_deg) == rotated(KNOWN, rotation_deg // 90, (1280, 720))


@pytest.mark.parametrize(
    ("known", "size"),
    [
        (Intrinsics(0.0, 320, 240), (640, 480)),
        (Intrinsics(float("nan"), 320, 240), (640, 480)),
        (Intrinsics(500, 320, 240, 1500), (640, 480)),
        (Intrinsics(500, 1320, 240), (640, 480)),
        (Intrinsics(500, 320, 240), (0, 0)),
        (Intrinsics(1e6, 320, 240), (640, 480)),
    ],
)
def test_impossible_cameras_get_a_message(known: Intrinsics, size: tuple[int, int]) -> None:
    with raises(ErrorCode.BAD_VALUE):
        camera_model_of_intrinsics(known, size)


@pytest.mark.parametrize("angle_deg", [0.0, 180.0, float("nan"), float("inf")])
def test_impossible_angles_get_a_message(angle_deg: float) -> None:
    with raises(ErrorCode.BAD_VALUE):
        CameraModel("angle", angle_deg)


@pytest.mark.parametrize("camera_model", [ASSUMED_CAMERA, CameraModel("angle", 78.0, "diagonal"), MEASURED])
def test_camera_models_come_back_from_their_text(camera_model: CameraModel) -> None:
    assert camera_model_from_text(camera_model_text(camera_model)) == camera_model


def test_opencv_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "ours.yml"
    path.write_text(opencv_text(MEASURED))
    read = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    # OpenCV's pixel centres lie at whole numbers.
    np.testing.assert_allclose(read.getNode("camera_matrix").mat(), [[900, 0, 649.5], [0, 910, 349.5], [0, 0, 1]])
    read.release()
    known = read_camera_file(path).known
    assert known is not None
    np.testing.assert_array_equal(known.matrix, KNOWN.matrix)


@pytest.mark.parametrize("suffix", [".yml", ".xml", ".json"])
def test_we_read_what_opencv_writes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"theirs{suffix}"
    written = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    written.write("image_width", 1280)
    written.write("image_height", 720)
    written.write("distortion_coefficients", np.full((1, 5), 0.1))
    written.write("camera_matrix", np.array([[900.25, 0, 649.5], [0, 910, 349.5], [0, 0, 1]]))
    written.release()
    content = path.read_bytes()
    for changed in (content, b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n")):
        path.write_bytes(changed)
        camera_model = read_camera_file(path)
        assert camera_model.known is not None
        np.testing.assert_allclose(camera_model.known.matrix, [[900.25, 0, 650], [0, 910, 350], [0, 0, 1]], rtol=1e-15)
        assert (camera_model.known_size, camera_model.known.origin) == ((1280, 720), "calibrated")


def test_ros_files_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(
        "image_width: 640\nimage_height: 480\ncamera_name: head\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
        "  data: [520.1, 0, 321.5, 0, 521.2, 240.5, 0, 0, 1]\ndistortion_model: plumb_bob\n"
        "distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [0.1, 0, 0, 0, 0]\n"
    )
    known = read_camera_file(path).known
    assert known is not None
    np.testing.assert_allclose([*known.focals_px, *known.centre_px], [520.1, 521.2, 322, 241])


def test_plain_numbers_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(json.dumps({"width": 640, "height": 480, "fx": 550}))
    assert read_camera_file(path).intrinsics_for(640, 480).matrix.tolist() == [[550, 0, 320], [0, 550, 240], [0, 0, 1]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"{",
        b"[" * 100_000,
        b'{"mode": "angle"}',
        b'{"mode": "angle", "field_of_view_deg": true}',
        b'{"mode": "angle", "field_of_view_deg": 1e999}',
        b'{"mode": "angle", "field_of_view_deg": 60, "over": "everything"}',
        b'{"width": 640.5, "height": 480, "fx": 500}',
        b'{"width": 640, "height": 480, "fx": "500"}',
        b'{"width": 640, "height": 480, "fx": NaN}',
        b"camera_matrix: &a [*a]\n",
        b"image_width: 640\nimage_height: 480\ncamera_matrix:\n data: [1, 2, x]\n",
        b"image_width: 640\nimage_height: 480\ncamera_matrix:\n data: [500, 0, inf, 0, 500, 240, 0, 0, 1]\n",
        b"image_width: " + b"9" * 400 + b"\nimage_height: 480\ncamera_matrix:\n data: [500,0,3,0,500,2,0,0,1]\n",
        b"camera_matrix:\n" * 60_000,
        b"camera_matrix:\n" + b"data: [" * 100_000,
        b"image_width: 99999999999999999999\nimage_height: 480\ncamera_matrix:\n data: [500,0,3,0,500,2,0,0,1]\n",
        b"{" + b" " * 1_100_000,
        # These end the process in cv2.FileStorage (OpenCV 5.0), or never return.
        b"%YAML:1.0\n---\na: " + b"[" * 100_000 + b"\ncamera_matrix: 1\n",
        b'<?xml version="1.0"?>\n<opencv_storage>' + b"<camera_matrix>" * 60_000,
        b'{"camera_matrix": ' + b"[" * 100_000,
        b'{"camera_matrix": "$base64$' + b"A" * 5000 + b'"}',
        b"<camera_matrix>" + b"<data>" * 100_000 + b"<image_width>" * 10_000,
        b'{"image_width": 640, "image_height": 480, "camera_matrix": {"data": [1, 0, 3, 0, 5, 6, 0, 0, null]}}',
        b'{"image_width": 640, "image_height": 480, "camera_matrix": {"data": [500, 0, 3]}}',
        b'{"image_width": 640, "camera_matrix": {"data": [500, 0, 3, 0, 500, 6, 0, 0, 1]}}',
        b"<camera_matrix><data>500 0 3 0 500 6 0 0</data></camera_matrix>"
        b"<image_width>9</image_width><image_height>9</image_height>",
    ],
)
def test_hostile_files_get_a_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lens.json"
    path.write_bytes(content)
    with raises(
        ErrorCode.BAD_VALUE, ErrorCode.FILE_DAMAGED, ErrorCode.TOO_LARGE, ErrorCode.UNKNOWN_NAME, match=r"lens\.json"
    ):
        read_camera_file(path)


def test_a_missing_file_and_a_folder_get_a_message(tmp_path: Path) -> None:
    for path, code in ((tmp_path / "none.json", ErrorCode.FILE_MISSING), (tmp_path, ErrorCode.FILE_UNREADABLE)):
        with raises(code):
            read_camera_file(path)


def test_an_angle_is_no_opencv_file() -> None:
    with raises(ErrorCode.UNSUPPORTED_FORMAT):
        opencv_text(CameraModel("angle", 60.0))


def test_sizes_come_back_and_impossible_hands_get_a_message() -> None:
    size = HandSize("breadth", 81.5, 2.0)
    assert hand_size_from_text(hand_size_text(size)) == size
    for text in ("", "[]", '{"measure": "foot"}', '{"measure": "length", "millimetres": 5, "std_mm": 3}', "[" * 10**5):
        with raises(ErrorCode.BAD_VALUE, ErrorCode.FILE_DAMAGED):
            hand_size_from_text(text)
    with raises(ErrorCode.BAD_VALUE):
        HandSize("length", 180.0, 0.0)
