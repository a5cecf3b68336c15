"""The landmark network of MediaPipe Hands (Apache-2.0) as a backbone; its batch normalisation is folded in.

The weights are those of ``mediapipe_landmarks.onnx``, which has them in MediaPipe's own task file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file
from handviz.core.paths import LANDMARK_FILE, LANDMARKER_FILE
from handviz.core.records import KEYPOINT_COUNT
from handviz.detection.detector_files import GET_GRAPHS, check_graph
from handviz.models.backbones.interface import Backbone

STORED_AS_HALF = "_half"
"""End of the names of the ONNX file's weights, which are float16 in TensorFlow's order of axes."""


class SameConvolution(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding for even sizes: stride 2 pads one more after than before."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
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
    """Expansion by 1x1, filter of each channel, projection by 1x1; plus the input if shapes agree (MobileNetV2)."""

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
    """The output of MediaPipe's own heads for a crop."""

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
    """MediaPipe's hand landmark network (full): 15 inverted bottlenecks, pre-trained on real hands."""

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
        """Return the shallow and the middle map of an image (B, 3, 224, 224): what stays frozen in training."""
        shallow_map = functional.relu6(self.first(image))
        return shallow_map, self.stem_blocks(shallow_map)

    def last_map(self, middle_map: Tensor) -> Tensor:
        """Return the last map of a middle map."""
        expanded = functional.relu6(self.last_expand(self.tail_blocks(middle_map)))
        return functional.relu6(self.last_depthwise(expanded))


class MediaPipeLandmarkNet(nn.Module):
    """Backbone and heads together, as in the committed weight file."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MediaPipeHand()
        self.heads = MediaPipeHeads(MediaPipeHand.feature_size)

    def forward(self, image: Tensor) -> HandLandmarks:
        """Return the landmarks of an image (B, 3, 224, 224) RGB in [0, 1]."""
        return self.heads(self.backbone(image).global_feature)


def load_mediapipe_landmark_net(path: Path = LANDMARK_FILE) -> MediaPipeLandmarkNet:
    """Load MediaPipe's network with its own weights in fp32.

    HandvizError if the file, or the task file beside it that has its weights, is missing or another.
    """
    check_graph(path, path.with_name(LANDMARKER_FILE.name))
    network = MediaPipeLandmarkNet()
    try:
        network.load_state_dict(dict(_stored_weights(path)))
    except (OSError, DecodeError, RuntimeError, ValueError, LookupError) as error:
        raise HandvizError(
            f"{path} is damaged or is not MediaPipe's hand network ({error}): {GET_GRAPHS}", ErrorCode.MODEL_DAMAGED
        ) from error
    loaded_file(path)
    return network


def _stored_weights(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of the ONNX file by name, in PyTorch's order of axes; ValueError if one is not finite.

    They are read from the task file beside it, whatever file the ONNX file names.
    """
    model = onnx.load(path, load_external_data=False)
    content = path.with_name(LANDMARKER_FILE.name).read_bytes()
    orders = {node.output[0]: list(node.attribute[0].ints) for node in model.graph.node if node.op_type == "Transpose"}
    for constant in model.graph.initializer:
        if not constant.name.endswith(STORED_AS_HALF):
            continue
        name = constant.name.removesuffix(STORED_AS_HALF)
        place = {entry.key: entry.value for entry in constant.external_data}
        values = np.frombuffer(content, np.float16, int(place["length"]) // 2, int(place["offset"]))
        stored = values.reshape(constant.dims).astype(np.float32)
        if not np.isfinite(stored).all():
            raise ValueError(f"its weights {name:.80} are not finite: it is damaged")
        yield name, torch.from_numpy(stored.transpose(orders.get(name, range(stored.ndim))).copy())


def load_mediapipe_hand(path: Path = LANDMARK_FILE) -> MediaPipeHand:
    """Load the backbone alone, with MediaPipe's weights; HandvizError if the file is missing or another."""
    return load_mediapipe_landmark_net(path).backbone
