"""The user's override of handedness, of all hands and of single ones, and hidden hands."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from handviz.core.paths import CLIP_FILE
from handviz.core.records import (
    Detection,
    Frame,
    FrameResult,
    HandCrop,
    Handedness,
    HandednessSetting,
    NetworkOutput,
)
from handviz.detection.tracking import override_handedness
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.rendering.options import DEFAULT_COMPARED
from tests.hands import FakeLandmarker, made_up_detection
from tests.tiny_network import constant_hand, write_all_networks, write_network


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("detected", ("left", "right")),
        ("left", ("left", "left")),
        ("right", ("right", "right")),
    ],
)
def test_choice_goes_before_the_detector(choice: HandednessSetting, wanted: tuple[Handedness, ...]) -> None:
    found = [Detection(side, 0.9, np.zeros((21, 2))) for side in ("left", "right")]
    assert tuple(detection.handedness for detection in override_handedness(found, choice)) == wanted


@pytest.mark.slow
def test_a_hand_is_reconstructed_as_the_side_that_it_is_called() -> None:
    clip = cv2.VideoCapture(str(CLIP_FILE))
    clip.set(cv2.CAP_PROP_POS_FRAMES, 30)
    frame = Frame(0, cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2RGB), 0.0)
    clip.release()
    with Pipeline(PipelineSettings(), PipelineConfig(video=False, preload_others=False)) as pipeline:
        (detected,) = pipeline.process(frame).hands
        other: HandednessSetting = "left" if detected.handedness == "right" else "right"
        pipeline.apply(replace(pipeline.settings, side=other))
        (called,) = pipeline.process(frame).hands
        pipeline.apply(replace(pipeline.settings, side=detected.handedness))
        (again,) = pipeline.process(frame).hands
    assert (called.handedness, again.handedness) == (other, detected.handedness)
    assert np.linalg.norm(called.vertices_m - again.vertices_m, axis=1).mean() > 0.01


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def two_hands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Detection]]:
    """Yield what the detector finds in every frame: a right hand and a left one."""
    found = [made_up_detection(x=80.0, size=60), made_up_detection("left", x=240.0, size=60)]
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    monkeypatch.setattr(FakeLandmarker, "detect", lambda *_: tuple(found))
    yield found
    FakeLandmarker.made.clear()


def frame(number: int = 0, name: str = "") -> Frame:
    return Frame(number, np.full((240, 320, 3), 90, np.uint8), number * 33.0, name)


def shown(result: FrameResult) -> list[tuple[int, Handedness]]:
    assert [one.track_id for one in result.detections] == [hand.track_id for hand in result.hands]
    return [(hand.track_id, hand.handedness) for hand in result.hands]


@pytest.mark.usefixtures("two_hands")
@pytest.mark.parametrize("video", [True, False])
def test_flips_and_hidden_hands_stay_while_the_hands_do(networks: Path, video: bool) -> None:
    config = PipelineConfig(networks, video=video, preload_others=False)
    with Pipeline(PipelineSettings(others=DEFAULT_COMPARED), config) as pipeline:
        pipeline.process(frame(0, "a.jpg"))
        pipeline.flip_hand(1)
        pipeline.hide_hand(2)
        for number in (1, 2, 3):
            result = pipeline.process(frame(number if video else 0, "a.jpg"))
            assert shown(result) == [(1, "left")]
            assert result.hidden == 1
            assert {tuple(hand.track_id for hand in hands) for hands in result.others.values()} == {(1,)}
        pipeline.show_all_hands()
        pipeline.flip_hand(1)
        result = pipeline.process(frame(4 if video else 0, "a.jpg"))
        assert (shown(result), result.hidden) == ([(1, "right"), (2, "left")], 0)


@pytest.mark.usefixtures("two_hands")
def test_another_image_starts_anew(networks: Path) -> None:
    with Pipeline(config=PipelineConfig(networks, video=False, preload_others=False)) as pipeline:
        pipeline.process(frame(0, "a.jpg"))
        pipeline.flip_hand(1)
        pipeline.hide_hand(2)
        result = pipeline.process(frame(1, "b.jpg"))
        assert (shown(result), result.hidden) == ([(1, "right"), (2, "left")], 0)


@pytest.mark.usefixtures("two_hands")
@pytest.mark.parametrize("same_hands", [True, False])
def test_a_flip_lasts_through_a_jump_in_a_clip_but_not_into_another_source(networks: Path, same_hands: bool) -> None:
    with Pipeline(config=PipelineConfig(networks, preload_others=False)) as pipeline:
        pipeline.process(frame(0))
        pipeline.flip_hand(1)
        pipeline.reset(video=True, same_hands=same_hands)
        wanted = [(1, "left" if same_hands else "right"), (2, "left")]
        assert shown(pipeline.process(frame(40))) == wanted


@pytest.mark.usefixtures("two_hands")
def test_one_hand_is_flipped_from_the_side_that_all_hands_were_given(networks: Path) -> None:
    with Pipeline(PipelineSettings(side="left"), PipelineConfig(networks, preload_others=False)) as pipeline:
        assert shown(pipeline.process(frame(0))) == [(1, "left"), (2, "left")]
        pipeline.flip_hand(2)
        assert shown(pipeline.process(frame(1))) == [(1, "left"), (2, "right")]


def test_a_rechecked_image_is_flipped_back_to_what_the_detector_said(
    tmp_path: Path, two_hands: list[Detection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recheck, which sees left hands only, may not turn the user's side; the detector is unsure of it."""
    two_hands[:] = [replace(two_hands[0], score=0.6)]
    write_network(tmp_path / "handviz_final.onnx", hand=constant_hand())
    with Pipeline(config=PipelineConfig(tmp_path, video=False, preload_others=False)) as pipeline:
        loaded = pipeline._network("final")
        reconstruct = loaded.reconstruct

        def sees_left(crops: Sequence[HandCrop]) -> list[NetworkOutput]:
            return [
                replace(hand, right_hand=0.99 if crop.detection.handedness == "left" else 0.01)
                for hand, crop in zip(reconstruct(crops), crops, strict=True)
            ]

        monkeypatch.setattr(loaded, "reconstruct", sees_left)
        assert shown(pipeline.process(frame(0, "a.jpg"))) == [(1, "left")]
        pipeline.flip_hand(1)
        assert shown(pipeline.process(frame(0, "a.jpg"))) == [(1, "right")]
        pipeline.flip_hand(1)
        assert shown(pipeline.process(frame(0, "a.jpg"))) == [(1, "left")]


def test_a_paused_frame_keeps_its_sides_however_often_its_settings_change(
    networks: Path, two_hands: list[Detection]
) -> None:
    with Pipeline(config=PipelineConfig(networks, preload_others=False)) as pipeline:
        paused = frame(7)
        assert shown(pipeline.process(paused)) == [(1, "right"), (2, "left")]
        two_hands[:] = [replace(one, handedness="left") for one in two_hands]
        for number in range(20):
            # As the window repeats it: the same image, taken again.
            again = replace(paused, captured_ms=1000.0 + number)
            assert shown(pipeline.process(again)) == [(1, "right"), (2, "left")]
        later = [shown(pipeline.process(frame(8 + number)))[0] for number in range(20)]
        assert later[-1] == (1, "left"), "other frames are evidence"
