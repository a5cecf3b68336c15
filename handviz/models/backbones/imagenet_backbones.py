"""ResNet-50 and EfficientNet-B0 without classifier; parameter names are torchvision's, so its state dicts load."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.errors import ErrorCode, HandvizError
from handviz.models.backbones.interface import Backbone

CLASSIFIERS = ("fc.", "classifier.")


class ImageNetNormalisation(nn.Module):
    """Normalisation of colours in [0, 1] to the statistics that ImageNet's networks are trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 residual block (He et al. 2016; stride in the 3x3, as torchvision has it)."""

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(features)))
        hidden = functional.relu(self.bn2(self.conv2(hidden)))
        return functional.relu(self.bn3(self.conv3(hidden)) + self.downsample(features))


def _resnet_stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, width, stride=stride)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, stride=1) for _ in range(blocks - 1)))


class ResNet50(Backbone):
    """ResNet-50 without its classifier (He et al. 2016), randomly initialised."""

    feature_size = 2048
    shallow_channels = 64
    middle_channels = 1024

    def __init__(self) -> None:
        super().__init__()
        self.normalise = ImageNetNormalisation()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _resnet_stage(64, 64, 3, stride=1)
        self.layer2 = _resnet_stage(256, 128, 4, stride=2)
        self.layer3 = _resnet_stage(512, 256, 6, stride=2)
        self.layer4 = _resnet_stage(1024, 512, 3, stride=2)
        _initialise(self)

    def stem(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow_map = functional.relu(self.bn1(self.conv1(self.normalise(image))))
        return shallow_map, self.layer3(self.layer2(self.layer1(self.maxpool(shallow_map))))

    def last_map(self, middle_map: Tensor) -> Tensor:
        return self.layer4(middle_map)


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class SqueezeExcitation(nn.Module):
    """Scaling of every channel by a gate computed from all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = functional.silu(self.fc1(features.mean((2, 3), keepdim=True)))
        return features * torch.sigmoid(self.fc2(squeezed))


class MBConv(nn.Module):
    """EfficientNet's inverted bottleneck with squeeze-excitation (Tan and Le 2019; no stochastic depth)."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        expanded = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(nn.Sequential(*_convolution(inputs, expanded), nn.SiLU()))
        layers.append(nn.Sequential(*_convolution(expanded, expanded, kernel, stride, expanded), nn.SiLU()))
        layers.append(SqueezeExcitation(expanded, max(1, inputs // 4)))
        layers.append(nn.Sequential(*_convolution(expanded, outputs)))
        self.block = nn.Sequential(*layers)
        self.residual = inputs == outputs and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        return features + self.block(features) if self.residual else self.block(features)


# (expansion, kernel, stride, inputs, outputs, blocks), Tan and Le 2019, table 1.
EFFICIENTNET_B0_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
EFFICIENTNET_FIRST_TAIL_STAGE = 6


class EfficientNetB0(Backbone):
    """EfficientNet-B0 without its classifier (Tan and Le 2019), randomly initialised."""

    feature_size = 1280
    shallow_channels = 32
    middle_channels = 112

    def __init__(self) -> None:
        super().__init__()
        self.normalise = ImageNetNormalisation()
        stages: list[nn.Module] = [nn.Sequential(*_convolution(3, 32, 3, 2), nn.SiLU())]
        for expansion, kernel, stride, inputs, outputs, blocks in EFFICIENTNET_B0_STAGES:
            first = MBConv(inputs, outputs, expansion=expansion, kernel=kernel, stride=stride)
            others = (MBConv(outputs, outputs, expansion=expansion, kernel=kernel, stride=1) for _ in range(blocks - 1))
            stages.append(nn.Sequential(first, *others))
        stages.append(nn.Sequential(*_convolution(320, 1280), nn.SiLU()))
        self.features = nn.Sequential(*stages)
        _initialise(self)

    def stem(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow_map = self.features[0](self.normalise(image))
        return shallow_map, self.features[1:EFFICIENTNET_FIRST_TAIL_STAGE](shallow_map)

    def last_map(self, middle_map: Tensor) -> Tensor:
        return self.features[EFFICIENTNET_FIRST_TAIL_STAGE:](middle_map)


def _initialise(network: nn.Module) -> None:
    """Initialise every convolution as He et al. 2015."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# torchvision's weights (``resnet50-….pth``, ``efficientnet_b0_….pth``): not shipped, since the terms of their training
# images do not allow us to pass them on. Names and shapes are torchvision's.


def load_torchvision_weights(backbone: Backbone, path: Path) -> None:
    """Load all weights before the classifier; HandvizError names missing and unexpected ones."""
    found = {name: value for name, value in _read(path).items() if not name.startswith(CLASSIFIERS)}
    own = backbone.state_dict()
    # Old files lack the batch counters, which are not used here.
    expected = {name for name in own if not name.endswith("num_batches_tracked")}
    wrong = sorted((expected - found.keys()) | (found.keys() - own.keys()))
    wrong += sorted(name for name in expected & found.keys() if found[name].shape != own[name].shape)
    if wrong:
        kind = type(backbone).__name__
        raise HandvizError(
            f"{path} is not torchvision's file for {kind}: {len(wrong)} weights differ, the first is {wrong[0]}",
            ErrorCode.MODEL_FOREIGN,
        )
    if not all(torch.isfinite(found[name]).all() for name in expected):
        raise HandvizError(f"{path} holds weights that are not finite: download it again", ErrorCode.NOT_FINITE)
    backbone.load_state_dict(own | found)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise HandvizError(
            f"{path} cannot be read as a file of weights ({type(error).__name__})", ErrorCode.MODEL_DAMAGED
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise HandvizError(f"{path} is not a state dict (weights by their names)", ErrorCode.MODEL_DAMAGED)
    return {str(name): value for name, value in state.items()}
