"""What the registry says of the shipped models is what their files contain."""

import numpy as np
import pytest

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import HandCrop
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.attention_maps import AttentionReader
from handviz.models.base import LoadContext, ModelSpec
from handviz.models.reconstructor import LoadedModel
from handviz.models.registry import list_models, model_spec
from handviz.rendering.options import DEFAULT_COMPARED
from tests.errors import raises
from tests.hands import made_up_detection

SPECS = list_models()


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_model_provides_what_the_registry_says(spec: ModelSpec) -> None:
    crop = HandCrop(
        np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8), np.eye(2, 3), made_up_detection("right")
    )
    (hand,) = LoadedModel(spec, LoadContext()).reconstruct([crop])
    std_m, provided = hand.vertex_std_m, {"landmarks"} if hand.landmarks_m is not None else set()
    if np.any(std_m):
        provided.add("constant_uncertainty" if np.ptp(std_m) == 0 else "uncertainty")
    if hand.heatmaps is not None:
        provided.add("heatmaps")
    if hand.steps:
        provided.add("iterations")
    try:
        AttentionReader(spec.file, load_open_hand())
        provided.add("attention")
    except HandvizError:  # the file has none
        pass
    assert provided == spec.provides


def test_every_model_is_known_by_its_name() -> None:
    assert tuple(f"{spec}" for spec in SPECS) == (*DEFAULT_COMPARED, "mediapipe", "hamr", "sima")
    assert [model_spec(spec.id) for spec in SPECS] == list(SPECS)
    assert [spec.family for spec in SPECS] == [*["amvur"] * len(DEFAULT_COMPARED), "mediapipe", "hamr", "sima_hand"]
    assert all(spec.file.is_file() and spec.hand_model == "open_hand" for spec in SPECS)
    with raises(ErrorCode.UNKNOWN_NAME, match="prior, amvur, final, mediapipe, hamr, sima"):
        model_spec("Final")
