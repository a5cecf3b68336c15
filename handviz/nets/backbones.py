"""The three image backbones behind one interface: an image goes in, one vector and a shallow map come out."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from handviz.errors import HandvizError
from handviz.paths import BACKBONE_FILE
from handviz.records import KEYPOINT_COUNT


class BackboneFeatures(NamedTuple):
    """What the heads see of an image."""

    global_feature: Tensor
    """(B, D)."""
    shallow_map: Tensor
    """(B, C, 112, 112)."""


class Backbone(nn.Module):
    """Image (B, 3, 224, 224) RGB in [0, 1] -> features, in two halves so that the first can be cached.

    ``stem`` ends at a map of 14 x 14; ``tail`` is what fine-tuning trains.
    """

    feature_size: int
    """D of the global feature."""
    shallow_channels: int
    """C of the shallow map."""
    middle_channels: int
    """Channels of the 14 x 14 map between stem and tail."""

    def stem(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image (B, 3, 224, 224) -> shallow map (B, C, 112, 112) and middle map (B, M, 14, 14)."""
        raise NotImplementedError

    def tail(self, middle_map: Tensor) -> Tensor:
        """Middle map (B, M, 14, 14) -> global feature (B, D)."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> BackboneFeatures:
        """Image (B, 3, 224, 224) RGB in [0, 1] -> features."""
        shallow_map, middle_map = self.stem(image)
        return BackboneFeatures(self.tail(middle_map), shallow_map)


class ImageNetNormalisation(nn.Module):
    """Shift and scale colours in [0, 1] to the statistics that ImageNet's networks are trained with."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer(
            "deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False
        )

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.deviation


# mediapipe_hand: the landmark network of MediaPipe Hands (Apache-2.0); batch normalisation is folded in.


class SameConvolution(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding for even sizes: stride 2 pads one more after than before."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups)
        before = (kernel - stride) // 2
        after = kernel - stride - before
        self.uneven_padding = (before, after, before, after) if stride == 2 else None

    def forward(self, features: Tensor) -> Tensor:
        if self.uneven_padding is not None:
            features = functional.pad(features, self.uneven_padding)
        return super().forward(features)


class InvertedBottleneck(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1; plus the input if shapes agree (MobileNetV2)."""

    def __init__(self, inputs: int, expanded: int, outputs: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.expand = SameConvolution(inputs, expanded) if expanded != inputs else None
        self.depthwise = SameConvolution(expanded, expanded, kernel, stride=stride, groups=expanded)
        self.project = SameConvolution(expanded, outputs)
        self.residual = inputs == outputs and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        hidden = features if self.expand is None else functional.relu6(self.expand(features))
        projected = self.project(functional.relu6(self.depthwise(hidden)))
        return features + projected if self.residual else projected


class HandLandmarks(NamedTuple):
    """What MediaPipe's own heads say about a crop."""

    screen_px: Tensor
    """(B, 21, 3) crop pixels; z in the same scale, relative to the wrist."""
    presence: Tensor
    """(B,) probability that the crop shows a hand."""
    handedness: Tensor
    """(B,) score of MediaPipe's label "Right"."""
    world_m: Tensor
    """(B, 21, 3) metres, relative to the hand's centre, crop axes."""


class MediaPipeHeads(nn.Module):
    """The four dense layers that turn the global feature (B, 1152) into MediaPipe's landmarks."""

    def __init__(self, feature_size: int) -> None:
        super().__init__()
        self.screen = nn.Linear(feature_size, 3 * KEYPOINT_COUNT)
        self.presence = nn.Linear(feature_size, 1)
        self.handedness = nn.Linear(feature_size, 1)
        self.world = nn.Linear(feature_size, 3 * KEYPOINT_COUNT)

    def forward(self, global_feature: Tensor) -> HandLandmarks:
        return HandLandmarks(
            screen_px=self.screen(global_feature).unflatten(1, (KEYPOINT_COUNT, 3)),
            presence=torch.sigmoid(self.presence(global_feature)).squeeze(1),
            handedness=torch.sigmoid(self.handedness(global_feature)).squeeze(1),
            world_m=self.world(global_feature).unflatten(1, (KEYPOINT_COUNT, 3)),
        )


# (inputs, expanded, outputs, kernel, stride), read from hand_landmark_full.tflite.
MEDIAPIPE_STEM_BLOCKS = (
    (24, 24, 16, 3, 1),
    (16, 64, 24, 3, 2),
    (24, 144, 24, 3, 1),
    (24, 144, 40, 5, 2),
    (40, 240, 40, 5, 1),
    (40, 240, 80, 3, 2),
    (80, 480, 80, 3, 1),
    (80, 480, 80, 3, 1),
    (80, 480, 112, 5, 1),
    (112, 672, 112, 5, 1),
    (112, 672, 112, 5, 1),
)
MEDIAPIPE_TAIL_BLOCKS = (
    (112, 672, 192, 5, 2),
    (192, 1152, 192, 5, 1),
    (192, 1152, 192, 5, 1),
    (192, 1152, 192, 5, 1),
)


def _bottlenecks(table: tuple[tuple[int, int, int, int, int], ...]) -> nn.Sequential:
    return nn.Sequential(
        *(
            InvertedBottleneck(inputs, expanded, outputs, kernel=kernel, stride=stride)
            for inputs, expanded, outputs, kernel, stride in table
        )
    )


class MediaPipeHand(Backbone):
    """MediaPipe's hand landmark network (full): 15 inverted bottlenecks that have seen real hands."""

    feature_size = 1152
    shallow_channels = 24
    middle_channels = 112

    def __init__(self) -> None:
        super().__init__()
        self.first = SameConvolution(3, 24, 3, stride=2)
        self.stem_blocks = _bottlenecks(MEDIAPIPE_STEM_BLOCKS)
        self.tail_blocks = _bottlenecks(MEDIAPIPE_TAIL_BLOCKS)
        self.last_expand = SameConvolution(192, 1152)
        self.last_depthwise = SameConvolution(1152, 1152, 3, groups=1152)

    def stem(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow_map = functional.relu6(self.first(image))
        return shallow_map, self.stem_blocks(shallow_map)

    def tail(self, middle_map: Tensor) -> Tensor:
        expanded = functional.relu6(self.last_expand(self.tail_blocks(middle_map)))
        return functional.relu6(self.last_depthwise(expanded)).mean((2, 3))


class MediaPipeLandmarkNet(nn.Module):
    """Backbone and heads together: what the committed weight file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MediaPipeHand()
        self.heads = MediaPipeHeads(MediaPipeHand.feature_size)

    def forward(self, image: Tensor) -> HandLandmarks:
        """Image (B, 3, 224, 224) RGB in [0, 1] -> landmarks."""
        return self.heads(self.backbone(image).global_feature)


def load_mediapipe_landmark_net(path: Path = BACKBONE_FILE) -> MediaPipeLandmarkNet:
    """MediaPipe's network with its own weights in fp32; HandvizError if the file is missing or another."""
    network = MediaPipeLandmarkNet()
    try:
        weights = load_file(path)
        network.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise HandvizError(
            f"{path} is missing or is not MediaPipe's hand network; "
            f"'python -m handviz build backbone' makes it: {error}"
        ) from error
    return network


def load_mediapipe_hand(path: Path = BACKBONE_FILE) -> MediaPipeHand:
    """The backbone alone, with MediaPipe's weights; HandvizError if the file is missing or another."""
    return load_mediapipe_landmark_net(path).backbone


# resnet50 and efficientnet_b0: standard; parameter names are torchvision's, so its state dicts load.


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
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

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

    def tail(self, middle_map: Tensor) -> Tensor:
        return self.layer4(middle_map).mean((2, 3))


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class SqueezeExcitation(nn.Module):
    """Scale every channel by a gate computed from all channels' means (Hu et al. 2018)."""

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
            others = (
                MBConv(outputs, outputs, expansion=expansion, kernel=kernel, stride=1)
                for _ in range(blocks - 1)
            )
            stages.append(nn.Sequential(first, *others))
        stages.append(nn.Sequential(*_convolution(320, 1280), nn.SiLU()))
        self.features = nn.Sequential(*stages)
        _initialise(self)

    def stem(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow_map = self.features[0](self.normalise(image))
        return shallow_map, self.features[1:EFFICIENTNET_FIRST_TAIL_STAGE](shallow_map)

    def tail(self, middle_map: Tensor) -> Tensor:
        return self.features[EFFICIENTNET_FIRST_TAIL_STAGE:](middle_map).mean((2, 3))


def _initialise(network: nn.Module) -> None:
    """He initialisation of every convolution (He et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "mediapipe_hand": load_mediapipe_hand,
    "resnet50": ResNet50,
    "efficientnet_b0": EfficientNetB0,
}


def make_backbone(name: str) -> Backbone:
    """The backbone of this name; raises HandvizError for an unknown name or a missing weight file."""
    if name not in BACKBONES:
        raise HandvizError(f"unknown backbone {name!r}; there are {', '.join(BACKBONES)}")
    return BACKBONES[name]()
