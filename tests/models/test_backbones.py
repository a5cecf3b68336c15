"""The backbones: shapes, published sizes, and MediaPipe's own answers."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from handviz.core.errors import ErrorCode
from handviz.core.paths import LANDMARK_FILE, LANDMARKER_FILE
from handviz.models.backbones.mediapipe_hand import (
    InvertedBottleneck,
    MediaPipeHand,
    SameConvolution,
    load_mediapipe_hand,
    load_mediapipe_landmark_net,
)
from handviz.models.backbones.registry import BACKBONES, make_backbone
from tests.errors import raises

REFERENCE = Path(__file__).parents[1] / "data" / "mediapipe_hand_reference.npz"


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def backbone(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    return make_backbone(request.param).eval()


@torch.no_grad()
def test_shapes_are_as_promised_and_two_halves_make_the_whole(backbone):
    image = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features = backbone(image)
    shallow_map, middle_map = backbone.stem(image)
    assert features.global_feature.shape == (2, backbone.feature_size)
    assert features.shallow_map.shape == (2, backbone.shallow_channels, 112, 112)
    assert middle_map.shape == (2, backbone.middle_channels, 14, 14)
    torch.testing.assert_close(shallow_map, features.shallow_map)
    torch.testing.assert_close(backbone.tail(middle_map), features.global_feature)
    assert features.global_feature.isfinite().all()


def test_sizes_are_those_of_the_design():
    sizes = {name: (make_backbone(name).feature_size, make_backbone(name).shallow_channels) for name in BACKBONES}
    assert sizes == {"mediapipe_hand": (1152, 24), "resnet50": (2048, 64), "efficientnet_b0": (1280, 32)}


@pytest.mark.parametrize(("name", "published"), [("resnet50", 23_508_032), ("efficientnet_b0", 4_007_548)])
def test_parameter_counts_equal_the_published_ones_without_classifier(name, published):
    assert sum(parameter.numel() for parameter in make_backbone(name).parameters()) == published


@pytest.mark.parametrize(("name", "key"), [
    ("resnet50", "layer3.5.bn3.running_var"),
    ("efficientnet_b0", "features.6.3.block.2.fc2.bias"),
])  # fmt: skip
def test_parameter_names_are_those_of_torchvision(name, key):
    assert key in make_backbone(name).state_dict()


def test_mediapipe_hand_reproduces_mediapipes_own_landmarks():
    reference = np.load(REFERENCE)
    image = torch.from_numpy(reference["crop"]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        landmarks = load_mediapipe_landmark_net().eval()(image)
    np.testing.assert_allclose(landmarks.screen_px.flatten() / 224, reference["screen_px"] / 224, atol=1e-4)
    np.testing.assert_allclose(landmarks.world_m.flatten(), reference["world_m"], atol=1e-5)
    np.testing.assert_allclose(landmarks.presence, reference["presence"], atol=1e-4)
    np.testing.assert_allclose(landmarks.handedness, reference["handedness"], atol=1e-4)


def test_mediapipe_hand_is_what_load_state_dict_saw():
    net, backbone = load_mediapipe_landmark_net(), load_mediapipe_hand()
    assert isinstance(backbone, MediaPipeHand)
    torch.testing.assert_close(backbone.state_dict(), net.backbone.state_dict())


@pytest.mark.parametrize("kernel", [3, 5])
def test_same_convolution_pads_as_tensorflow(kernel):
    size, stride = 8, 2
    convolution = SameConvolution(1, 1, kernel, stride=stride)
    nn.init.constant_(convolution.bias, 0.0)
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(1))
    total = (size // stride - 1) * stride + kernel - size
    padded = np.pad(image[0, 0].numpy(), (total // 2, total - total // 2))
    weight = convolution.weight[0, 0].detach().numpy()
    slow = [
        [(padded[y : y + kernel, x : x + kernel] * weight).sum() for x in range(0, size, stride)]
        for y in range(0, size, stride)
    ]
    np.testing.assert_allclose(convolution(image)[0, 0].detach().numpy(), slow, atol=1e-5)


def test_bottleneck_adds_its_input_only_where_shapes_agree():
    image = torch.rand(1, 8, 4, 4)
    same, other = (InvertedBottleneck(8, 16, outputs, kernel=3, stride=1) for outputs in (8, 12))
    for block in (same, other):
        nn.init.zeros_(block.project.weight)
        nn.init.zeros_(block.project.bias)
    torch.testing.assert_close(same(image), image)
    assert not other(image).any()


def test_an_unknown_name_is_said():
    with raises(ErrorCode.UNKNOWN_NAME, match="resnet50"):
        make_backbone("vgg")


def copied(tmp_path: Path) -> Path:
    """Return a copy of the landmark network's file, with the task file beside it."""
    for path in (LANDMARK_FILE, LANDMARKER_FILE):
        shutil.copy(path, tmp_path)
    return tmp_path / LANDMARK_FILE.name


def test_a_missing_or_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / LANDMARK_FILE.name
    with raises(ErrorCode.MODEL_MISSING, match=path.name):
        load_mediapipe_hand(path)
    path.write_bytes(b"not a network")
    with raises(ErrorCode.MODEL_FOREIGN, match=path.name):
        load_mediapipe_hand(path)
    shutil.copy(LANDMARK_FILE, path)
    with raises(ErrorCode.MODEL_MISSING, match=LANDMARKER_FILE.name):
        load_mediapipe_hand(path)
    # Its metadata alone, without the graph before them.
    copied(tmp_path).write_bytes(LANDMARK_FILE.read_bytes()[-400:])
    with raises(ErrorCode.MODEL_DAMAGED, match=path.name):
        load_mediapipe_hand(path)


def test_a_task_file_with_other_weights_is_refused(tmp_path: Path) -> None:
    path = copied(tmp_path)
    task = tmp_path / LANDMARKER_FILE.name
    content = bytearray(task.read_bytes())
    content[7_443_480] ^= 0x40
    task.write_bytes(content)
    with raises(ErrorCode.MODEL_DAMAGED, ErrorCode.FILES_DISAGREE, match=task.name):
        load_mediapipe_hand(path)


def test_weights_that_are_not_finite_or_out_of_the_file_are_refused(tmp_path: Path) -> None:
    path, model = copied(tmp_path), onnx.load(LANDMARK_FILE, load_external_data=False)
    weight = next(item for item in model.graph.initializer if item.name == "backbone.first.weight_half")
    place = {entry.key: entry for entry in weight.external_data}
    task = (tmp_path / LANDMARKER_FILE.name).read_bytes()
    halves = np.abs(np.frombuffer(task[: len(task) // 2 * 2], np.float16)[:2_000_000])
    place["offset"].value = str(2 * int(np.flatnonzero(~np.isfinite(halves))[0]))
    onnx.save(model, path)
    with raises(ErrorCode.MODEL_DAMAGED, match=r"backbone\.first\.weight are not finite"):
        load_mediapipe_hand(path)
    place["offset"].value = str(len(task) - 10)
    onnx.save(model, path)
    with raises(ErrorCode.MODEL_DAMAGED):
        load_mediapipe_hand(path)


def test_a_changed_file_is_loaded_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, model = copied(tmp_path), onnx.load(LANDMARK_FILE, load_external_data=False)
    model.doc_string = "written anew"
    onnx.save(model, path)
    load_mediapipe_hand(path)
    assert f"{path} is changed" in caplog.text
    caplog.clear()
    load_mediapipe_hand()
    assert not caplog.text
