"""ImageNet weights of a user's own, in torchvision's files."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from handviz.core.errors import ErrorCode
from handviz.models.backbones.imagenet_backbones import EfficientNetB0, ResNet50, load_torchvision_weights
from tests.errors import raises


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """As torchvision saves an EfficientNet-B0, its classifier too."""
    torch.manual_seed(1)
    state = EfficientNetB0().state_dict()
    return state | {"classifier.1.weight": torch.zeros(1000, 1280), "classifier.1.bias": torch.zeros(1000)}


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_are_taken_over(tmp_path: Path, weights: dict[str, torch.Tensor], ending: str) -> None:
    path = tmp_path / f"efficientnet_b0{ending}"
    if ending == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    backbone = EfficientNetB0()
    load_torchvision_weights(backbone, path)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_counters_of_batches_may_be_missing(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "old.pth"
    torch.save({name: value for name, value in weights.items() if "num_batches" not in name}, path)
    load_torchvision_weights(EfficientNetB0(), path)


def test_another_network_s_file_is_named(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    with raises(ErrorCode.MODEL_FOREIGN):
        load_torchvision_weights(ResNet50(), path)
    first = next(iter(weights))
    torch.save(weights | {first: weights[first][:1]}, path)
    with raises(ErrorCode.MODEL_FOREIGN, match=f"1 weights differ, the first is {first}"):
        load_torchvision_weights(EfficientNetB0(), path)
    torch.save(weights | {first: weights[first] * float("nan")}, path)
    with raises(ErrorCode.NOT_FINITE):
        load_torchvision_weights(EfficientNetB0(), path)


class Harm:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


@pytest.mark.parametrize("content", [b"", b"no weights", Harm(), [1, 2], {"a": "b"}])
def test_what_is_no_file_of_weights_is_a_message(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with raises(ErrorCode.MODEL_DAMAGED):
        load_torchvision_weights(EfficientNetB0(), path)
