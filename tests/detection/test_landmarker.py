"""The detector: its file, handedness, stills, duplicates."""

import gc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import apply_affine
from handviz.core.paths import CLIP_FILE, LANDMARKER_FILE
from handviz.core.records import Detection, Frame
from handviz.detection import landmarker
from handviz.detection.detector_files import TASK_MEMBERS
from handviz.detection.landmarker import HandLandmarker
from handviz.detection.still_search import search_still
from handviz.detection.still_views import views_of
from handviz.detection.tracking import box_cover, box_union_fraction, same_hand, without_duplicates
from handviz.sources.images import read_image
from handviz.sources.source import open_source
from tests.errors import raises
from tests.hands import made_up_detection
from tools.build_landmarker import ALIGNMENT_BYTES, task_bytes
from tools.mediapipe_wheel import PALM_DETECTION, members_of


def frame(image: NDArray[np.uint8]) -> Frame:
    return Frame(number=0, image=np.ascontiguousarray(image), captured_ms=0.0)


@pytest.mark.slow
def test_the_persons_right_hand_is_called_right(shared_images: Path) -> None:
    photo = read_image(shared_images / "hamer_test5.jpg")
    width = photo.shape[1]
    for image, name, x_fraction in ((photo, "right", 0.40), (photo[:, ::-1], "left", 0.60)):
        with HandLandmarker(video=False) as landmarker:
            stills = landmarker.detect(frame(image))
        with HandLandmarker(video=True) as landmarker:
            followed = landmarker.detect(frame(image))
        for found in (stills, followed):
            (hand,) = (one for one in found if one.handedness == name)
            assert hand.keypoints_px[:, 0].mean() / width == pytest.approx(x_fraction, abs=0.03)
            assert len(found) == 2


@pytest.mark.parametrize("video", [True, False])
def test_the_clips_right_hand_is_called_right_and_left_in_a_mirror(video: bool) -> None:
    source = open_source(str(CLIP_FILE))
    rgb = source.read()
    source.close()
    assert rgb is not None
    for image, name in ((rgb.image, "right"), (rgb.image[:, ::-1], "left")):
        with HandLandmarker(video=video) as landmarker:
            assert [hand.handedness for hand in landmarker.detect(frame(image))] == [name]


@pytest.mark.slow
def test_close_ups_that_fill_the_image_are_found(shared_images: Path) -> None:
    paths = sorted(shared_images.glob("close_*.jpg"))
    assert paths
    with HandLandmarker(max_hands=4, video=False) as landmarker:
        found = [bool(landmarker.detect(frame(read_image(path)))) for path in paths]
    assert all(found)


def test_a_close_up_of_the_clip_s_hand_is_found() -> None:
    """A twentieth of the hand is beyond every edge, as in the photographs, which not everybody has."""
    source = open_source(str(CLIP_FILE))
    rgb = source.read()
    source.close()
    assert rgb is not None
    with HandLandmarker(max_hands=4, video=False) as landmarker:
        (whole,) = landmarker.detect(frame(rgb.image))
        low, high = whole.keypoints_px.min(axis=0), whole.keypoints_px.max(axis=0)
        cut = 0.05 * (high - low)
        first, last = (low + cut).astype(int), (high - cut).astype(int)
        (near,) = landmarker.detect(frame(rgb.image[first[1] : last[1], first[0] : last[0]]))
    apart_px = np.linalg.norm(near.keypoints_px + first - whole.keypoints_px, axis=1)
    assert apart_px.mean() < 0.05 * (high - low).max()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 300), (8, 8), (300, 20)])
@pytest.mark.parametrize("video", [True, False])
def test_images_too_small_for_a_hand(size: tuple[int, int], video: bool) -> None:
    with HandLandmarker(video=video) as landmarker:
        assert landmarker.detect(frame(np.full((*size, 3), 128, np.uint8))) == ()


def test_a_task_file_without_networks_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "other.task"
    path.write_bytes(task_bytes(dict.fromkeys(TASK_MEMBERS, b"no network")))
    with raises(ErrorCode.MODEL_DAMAGED, match=r"other\.task"):
        HandLandmarker(path)
    gc.collect()  # MediaPipe frees its thread with the exception


def test_the_task_file_is_stored_aligned_and_reproducible() -> None:
    with zipfile.ZipFile(LANDMARKER_FILE) as archive:
        members = {name: archive.read(name) for name in TASK_MEMBERS}
        assert all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())
    content = LANDMARKER_FILE.read_bytes()
    assert task_bytes(members) == content
    for network in members.values():
        assert content.index(network) % ALIGNMENT_BYTES == 0


def test_a_wheel_with_other_networks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mediapipe.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(PALM_DETECTION, b"altered")
    with pytest.raises(HandvizError, match="sha256"):
        members_of(path, [PALM_DETECTION])
    with pytest.raises(HandvizError, match="is not the wheel"):
        members_of(path, ["absent"])


def test_views_lead_back_to_the_image() -> None:
    y, x = np.mgrid[0:400, 0:600]
    rgb = np.stack([x % 256, y % 256, x // 256 + 3 * (y // 256) + 1], axis=2).astype(np.uint8)
    views = list(views_of(rgb))
    assert len(views) > 10
    for view in views:
        height, width = view.image.shape[:2]
        pixels = np.array([(width * 0.4, height * 0.5), (width * 0.6, height * 0.4)]).astype(int)
        for column, row in pixels:
            back_x, back_y = apply_affine(view.image_from_view, np.array([column + 0.5, row + 0.5])) - 0.5
            np.testing.assert_array_equal(view.image[row, column], rgb[round(back_y), round(back_x)])


def test_a_huge_image_is_searched_reduced() -> None:
    views = list(views_of(np.zeros((4000, 3000, 3), np.uint8)))
    assert max(max(view.image.shape) for view in views) < 4000
    corner = apply_affine(views[0].image_from_view, np.array(views[0].image.shape[1::-1]))
    np.testing.assert_allclose(corner, (3000, 4000))


def test_stills_are_decided_by_vote() -> None:
    """Every view of a search shows a right hand, the first also a phantom, two of them call it left."""
    rgb = np.zeros((200, 200, 3), np.uint8)
    views = list(views_of(rgb))
    calls = iter(range(len(views)))

    def find(_: NDArray[np.uint8]) -> list[Detection]:
        index = next(calls)
        view_from_image = np.linalg.inv(np.vstack([views[index].image_from_view, [0, 0, 1]]))[:2]
        real = made_up_detection("left" if index < 2 else "right", x=60.0)
        seen = [Detection(real.handedness, 0.9, apply_affine(view_from_image, real.keypoints_px))]
        phantom = made_up_detection(size=40.0, x=170.0)
        return seen + ([phantom] if index == 0 else [])

    (hand,) = search_still(rgb, find, max_hands=5)
    assert hand.handedness == "right"
    assert hand.score == pytest.approx(0.9 * (len(views) - 2) / len(views))
    np.testing.assert_allclose(hand.keypoints_px, made_up_detection(x=60.0).keypoints_px, atol=1e-9)


def test_one_hand_found_twice_is_one_hand() -> None:
    hand = made_up_detection()
    worse = Detection("left", 0.5, hand.keypoints_px + 3)
    inside = Detection("right", 0.6, hand.keypoints_px.mean(axis=0) + 0.4 * (hand.keypoints_px - 100))
    beside = made_up_detection(x=230.0)
    assert without_duplicates([worse, hand, beside]) == (hand, beside)
    assert same_hand(hand, worse)
    assert same_hand(hand, inside) == (box_cover(hand.keypoints_px, inside.keypoints_px) > 0.8)


def test_box_overlaps() -> None:
    box = np.array([(0.0, 0.0), (4.0, 2.0)])
    half = np.array([(2.0, 0.0), (4.0, 2.0)])
    assert box_cover(box, half) == pytest.approx(1.0)
    assert box_union_fraction(box, half) == pytest.approx(0.5)
    assert box_cover(box, half + 10) == box_union_fraction(box, half + 10) == 0.0


def test_libraries_are_silent_while_the_detector_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    @contextmanager
    def silenced() -> Iterator[None]:
        events.append("silent")
        yield
        events.append("loud")

    detector = HandLandmarker(video=False)
    close = detector._landmarker.close
    monkeypatch.setattr(landmarker, "libraries_silenced", silenced)
    monkeypatch.setattr(detector._landmarker, "close", lambda: events.append("close"))
    detector.close()
    close()
    assert events == ["silent", "close", "loud"]
