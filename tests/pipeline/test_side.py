"""The user's override of handedness."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from handviz.core.paths import CLIP_FILE
from handviz.core.records import Detection, Frame, Handedness, HandednessSetting
from handviz.detection.tracking import override_handedness
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings


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
