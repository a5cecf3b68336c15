"""The choice of the detector: what both find, how many hands of a frame, and what a new detector loads."""

import gc
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.paths import CLIP_FILE, LANDMARKER_FILE
from handviz.core.records import DetectorChoice, Frame
from handviz.detection import detectors
from handviz.detection.detectors import files_of, make_detector
from handviz.detection.tracking import box_union_fraction
from handviz.sources.source import open_source


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    """Return the clip's first frame, a right hand, beside its mirror image, a left one."""
    source = open_source(str(CLIP_FILE))
    frame = source.read()
    source.close()
    assert frame is not None
    return np.hstack([frame.image, frame.image[:, ::-1]])


@pytest.mark.parametrize("video", [True, False])
def test_both_find_the_same_hands(rgb: NDArray[np.uint8], video: bool) -> None:
    found = []
    for choice in ("handviz", "mediapipe"):
        with closing(make_detector(choice, max_hands=2, video=video)) as detector:
            hands = detector.detect(Frame(0, rgb, 0.0))
        found.append({hand.handedness: hand.keypoints_px for hand in hands})
    assert [set(hands) for hands in found] == [{"left", "right"}] * 2
    for side, keypoints_px in found[0].items():
        assert box_union_fraction(keypoints_px, found[1][side]) > 0.9


@pytest.mark.parametrize("choice", ["handviz", "mediapipe"])
def test_a_stream_has_as_many_hands_as_wanted_and_an_image_all(choice: DetectorChoice, rgb: NDArray[np.uint8]) -> None:
    counts = []
    for video in (True, False):
        with closing(make_detector(choice, max_hands=1, video=video)) as detector:
            counts.append(len(detector.detect(Frame(0, rgb, 0.0))))
    assert counts == [1, 2]


def test_a_new_detector_loads_nothing_that_another_has(tmp_path: Path) -> None:
    for path in files_of("handviz"):
        shutil.copyfile(path, tmp_path / path.name)
    task_file = tmp_path / LANDMARKER_FILE.name
    first = make_detector(file=task_file, max_hands=2, video=True)
    networks = detectors._in_use[tmp_path, "auto"]
    second = make_detector(file=task_file, max_hands=4, video=False)
    assert detectors._in_use[tmp_path, "auto"] is networks
    first.close()
    del first, networks
    gc.collect()
    assert (tmp_path, "auto") in detectors._in_use
    second.close()
    del second
    gc.collect()
    assert (tmp_path, "auto") not in detectors._in_use
