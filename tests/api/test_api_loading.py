"""Loading a model: its options, and values that make no sense."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handviz
from handviz.core import onnx_runtime
from handviz.core.errors import ErrorCode
from tests.api.images import GREY, assert_same
from tests.errors import raises
from tests.hands import FakeLandmarker


def test_unknown_models_get_the_names_of_the_known(networks: Path) -> None:
    with raises(ErrorCode.UNKNOWN_NAME) as caught:
        handviz.load("hamer", model_dir=networks)
    assert all(str(spec) in str(caught.value) for spec in handviz.list_models())


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"device": "gpu"}, ErrorCode.UNKNOWN_NAME),
        ({"side": "both"}, ErrorCode.BAD_VALUE),
        ({"detector": "yolo"}, ErrorCode.BAD_VALUE),
        ({"max_hands": 0}, ErrorCode.BAD_VALUE),
        ({"max_hands": 1.5}, ErrorCode.BAD_VALUE),
        ({"hand_length_mm": 3}, ErrorCode.BAD_VALUE),
        ({"intrinsics": (500, 500)}, ErrorCode.WRONG_SHAPE),
        ({"intrinsics": np.eye(4)}, ErrorCode.WRONG_SHAPE),
        ({"intrinsics": [[1, 2], [3]]}, ErrorCode.WRONG_SHAPE),
        ({"intrinsics": b"500"}, ErrorCode.WRONG_SHAPE),
        ({"intrinsics": (500, 500, 160, float("nan"))}, ErrorCode.NOT_FINITE),
        ({"intrinsics": [[500, 3, 160], [0, 500, 120], [0, 0, 1]]}, ErrorCode.BAD_VALUE),
        ({"intrinsics": "absent.json"}, ErrorCode.FILE_MISSING),
        ({"model_dir": "absent"}, ErrorCode.MODEL_MISSING),
    ],
    ids=str,
)
def test_values_that_make_no_sense(
    load: Callable[..., handviz.Model], options: dict[str, Any], code: ErrorCode
) -> None:
    with raises(code):
        load(**options)


def test_intrinsics_that_no_image_of_that_size_has(load: Callable[..., handviz.Model]) -> None:
    model = load(intrinsics=(1, 1, 160, 120))
    with raises(ErrorCode.BAD_VALUE):
        model(GREY)


def test_intrinsics_in_every_form(load: Callable[..., handviz.Model], tmp_path: Path) -> None:
    numbers = (600.0, 600.0, 160.0, 120.0)
    matrix = np.array([[600.0, 0, 160], [0, 600, 120], [0, 0, 1]])
    file = tmp_path / "camera.json"
    known = {"width": 320, "height": 240, "fx": 600, "fy": 600, "cx": 160, "cy": 120, "origin": "stated"}
    file.write_text(json.dumps({"format": "handviz lens", "mode": "intrinsics", "focal_std_share": 0.03, **known}))
    forms = [numbers, list(numbers), matrix, matrix.tolist(), handviz.Intrinsics(600, 160, 120), file, str(file)]
    found = [load(intrinsics=form)(GREY) for form in forms]
    for hands in found[1:]:
        assert_same(hands, found[0])
    (stated,), (assumed,) = found[0], load()(GREY)
    assert (stated.intrinsics.origin, stated.intrinsics.focals_px.tolist()) == ("stated", [600, 600])
    assert stated.wrist_camera_m[2] > 1.5 * assumed.wrist_camera_m[2]


def test_a_measured_hand_sets_the_scale(load: Callable[..., handviz.Model]) -> None:
    (near,), (far,) = (load(hand_length_mm=length)(GREY) for length in (100, 200))
    np.testing.assert_allclose(far.wrist_camera_m, 2 * near.wrist_camera_m, rtol=1e-3)


def test_cuda_is_refused_where_onnx_runtime_lacks_it(
    load: Callable[..., handviz.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime.onnxruntime, "get_available_providers", lambda: [onnx_runtime.CPU_PROVIDER])
    with raises(ErrorCode.NO_CUDA, match="onnxruntime-gpu"):
        load(device="cuda")
    assert load(device="auto")(GREY)
    assert load(device="cpu")(GREY)


def test_the_number_of_hands_reaches_the_detector(load: Callable[..., handviz.Model]) -> None:
    for options, expected in (({}, [10, 2]), ({"max_hands": 4}, [4, 4])):
        FakeLandmarker.made.clear()
        list(load(**options).track([GREY]))
        assert [made.max_hands for made in FakeLandmarker.made] == expected
        assert [made.video for made in FakeLandmarker.made] == [False, True]


def test_the_detector_can_be_chosen(load: Callable[..., handviz.Model]) -> None:
    for options, expected in (({}, "handviz"), ({"detector": "mediapipe"}, "mediapipe")):
        FakeLandmarker.made.clear()
        list(load(**options).track([GREY]))
        assert [made.choice for made in FakeLandmarker.made] == [expected, expected]


def test_a_closed_model_says_so(model: handviz.Model) -> None:
    with model:
        assert model(GREY)
    model.close()
    assert repr(model) == "<Model final, network changed, closed>"
    with pytest.raises(ValueError, match=r"handviz\.load"):
        model(GREY)
    with pytest.raises(ValueError, match=r"handviz\.load"):
        model.track([GREY])


def test_a_missing_network_leaves_nothing_behind(networks: Path, tmp_path: Path) -> None:
    with raises(ErrorCode.MODEL_MISSING, match=r"handviz_final\.onnx"):
        handviz.load(model_dir=tmp_path)  # the fixture of all tests looks for threads


def test_changed_networks_are_named(load: Callable[..., handviz.Model], networks: Path) -> None:
    model = load()
    network = model.networks["network"]
    digest = hashlib.sha256((networks / "handviz_final.onnx").read_bytes()).hexdigest()
    assert (network.file, network.sha256, network.state) == ("handviz_final.onnx", digest, "changed")
    assert model.networks["detector"].state == "shipped"
    assert repr(model) == "<Model final, network changed>"
