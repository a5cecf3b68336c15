"""The bundled rig: its clips are in step, its cameras fit what a detector sees, and it is small."""

import numpy as np
import pytest

from handviz.core.multiview import ViewHand, check_views
from handviz.core.paths import RIG_FILE
from handviz.detection.detectors import make_detector
from handviz.sources.rig import read_rig
from handviz.sources.rig_moments import Moment, RigSource

NAMES = ("front", "left", "right")
MAX_BYTES = 3_000_000


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    with RigSource(read_rig(RIG_FILE)) as source:
        return list(source.moments())


def test_every_moment_has_all_three_views(moments: list[Moment]) -> None:
    assert len(moments) == 100
    assert all(tuple(view.name for view in moment.views) == NAMES and not moment.left_out for moment in moments)
    assert moments[-1].time_ms == pytest.approx(99 * 50, abs=1)


def test_moments_can_be_read_again_from_the_first_one_on() -> None:
    with RigSource(read_rig(RIG_FILE)) as source:
        first = next(iter(source.moments()))
        passes = [[moment.time_ms for moment in source.moments()] for _ in range(2)]
        again = next(iter(source.moments()))
    assert passes[0] == passes[1]
    assert len(passes[0]) == 100
    for one, other in zip(first.views, again.views, strict=True):
        np.testing.assert_array_equal(one.frame.image, other.frame.image)


@pytest.mark.parametrize("number", [0, 20, 90])
def test_the_cameras_fit_the_hands_that_are_found(moments: list[Moment], number: int) -> None:
    detector = make_detector(max_hands=1, video=False)
    hands = []
    for view in moments[number].views:
        found = detector.detect(view.frame)[0]
        hands.append(ViewHand(view.name, view.camera, found.keypoints_px, found.handedness, found.score))
    detector.close()
    check = check_views(hands)
    assert check.kept == NAMES
    assert check.keypoints_m is not None
    # The middle of the hand is half a metre before the first camera.
    assert check.keypoints_m.mean(axis=0)[2] == pytest.approx(0.5, abs=0.06)


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in RIG_FILE.parent.iterdir()) < MAX_BYTES
