"""``python -m tools.build detector``: MediaPipe's two hand networks as ONNX files whose weights stay in the task file.

A task file is a zip that stores its members as they are, and a TensorFlow Lite file holds each weight as one block of
float16. So the ONNX files need no copy: their constants are external data, places in ``hand_landmarker.task``. The
checksum of that file stands in their metadata, because in another one other numbers lie at these places.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from handviz import __version__
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path
from handviz.core.network_files import sha256_of
from handviz.core.paths import LANDMARK_FILE, LANDMARKER_FILE, PALM_FILE
from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT
from handviz.detection.detector_files import TASK_MEMBERS, WEIGHTS_KEY
from handviz.models.backbones.mediapipe_hand import MediaPipeHand
from tools.build_landmarker import LOCAL_HEADER_BYTES
from tools.lite_graph import LiteGraph, Operator, Place

OPSET, IR_VERSION = 18, 10
BATCH = "batch"
MAX_BYTE, RELU6_LIMIT = 255.0, 6.0
MAPS = {"map_56": (24, 56), "map_28": (40, 28), "middle_map": (112, 14)}
"""Outputs of the landmark network's blocks: channels and side of the last block of each."""
HEADS = ("screen", "presence", "handedness", "world")
"""Of the landmark network, in the order of its outputs."""
TO_ROWS = (0, 2, 3, 1)
"""Axes of ONNX's images -> those of TensorFlow Lite, which has the channels last."""
KERNEL_AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}
"""Axes of a stored kernel -> outputs, inputs, rows, columns."""


class _Converter:
    """Builds the nodes of one network; values are named by their numbers in the TensorFlow Lite file."""

    def __init__(self, graph: LiteGraph, task: Path, start: int, layer_names: Sequence[str] = ()) -> None:
        self.graph, self._task, self._start = graph, task, start
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._layer_names = iter(layer_names)

    def convert(self) -> None:
        """Convert every operator; HandvizError for one that MediaPipe's hand networks do not have."""
        kinds: dict[str, Callable[[Operator], None]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "FULLY_CONNECTED": self._dense,
            "PRELU": self._prelu,
            "ADD": self._add,
            "MAX_POOL_2D": self._pool,
            "PAD": self._pad,
            "RESIZE_BILINEAR": self._resize,
            "RESHAPE": self._reshape,
            "CONCATENATION": lambda step: self.add("Concat", step, step.inputs, axis=1),
            "LOGISTIC": lambda step: self.add("Sigmoid", step, step.inputs),
            "MEAN": self._mean,
        }
        for step in self.graph.operators():
            if step.kind not in kinds:
                raise HandvizError(f"the operator {step.kind} is not known here", ErrorCode.BAD_VALUE)
            kinds[step.kind](step)

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node; return its output's name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def add(self, kind: str, step: Operator, inputs: Sequence[int | str], **attributes: Any) -> None:
        """Append a node for an operator, and that of the function that it applies to its result."""
        names = [one if isinstance(one, str) else _name(one) for one in inputs]
        output = _name(step.outputs[0])
        if step.activation == "NONE":
            self.node(kind, names, output, **attributes)
        elif step.activation == "RELU6":
            before = self.node(kind, names, f"{output}_linear", **attributes)
            self.node("Clip", [before, self.constant("zero", 0.0), self.constant("six", RELU6_LIMIT)], output)
        else:
            raise HandvizError(f"the activation {step.activation} is not known here", ErrorCode.BAD_VALUE)

    def constant(self, name: str, value: Any, kind: Any = np.float32) -> str:
        """Add a constant to the file, once by its name; return the name."""
        if name not in {one.name for one in self.constants}:
            self.constants.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def weight(self, tensor: int, axes: Sequence[int] | None, name: str = "") -> str:
        """Add a weight in the task file, with its axes in ONNX's order; return the name of its float32."""
        name = name or f"weight_{tensor}"
        if any(node.output[0] == name for node in self.nodes):
            return name
        place = self.graph.place(tensor)
        self.constants.append(self._external(f"{name}_half", place))
        wide = self.node("Cast", [f"{name}_half"], name if axes is None else f"{name}_stored", to=TensorProto.FLOAT)
        return wide if axes is None else self.node("Transpose", [wide], name, perm=list(axes))

    def _external(self, name: str, place: Place) -> TensorProto:
        constant = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=place.shape)
        constant.data_location = TensorProto.EXTERNAL
        entries = {"location": self._task.name, "offset": self._start + place.start, "length": place.length}
        for key, value in entries.items():
            constant.external_data.add(key=key, value=str(value))
        return constant

    def _layer(self, step: Operator, axes: Sequence[int] | None) -> list[str]:
        """Return the names of the layer's input, kernel and bias."""
        layer = next(self._layer_names, "")
        names = [f"{layer}.{part}" if layer else "" for part in ("weight", "bias")]
        data, kernel, bias = step.inputs
        return [_name(data), self.weight(kernel, axes, names[0]), self.weight(bias, None, names[1])]

    def _convolution(self, step: Operator) -> None:
        rows, columns, channels = self.graph.shape(step.inputs[0])[1:]
        kernel = self.graph.shape(step.inputs[1])[1:3]
        strides = (step.options.StrideH(), step.options.StrideW())
        pads = [_same_padding(size, *pair) for size, *pair in zip((rows, columns), kernel, strides, strict=True)]
        self.add(
            "Conv",
            step,
            self._layer(step, KERNEL_AXES[step.kind]),
            kernel_shape=list(kernel),
            strides=list(strides),
            pads=[before for before, _ in pads] + [after for _, after in pads],
            group=channels if step.kind == "DEPTHWISE_CONV_2D" else 1,
        )

    def _dense(self, step: Operator) -> None:
        self.add("Gemm", step, self._layer(step, None), transB=1)

    def _prelu(self, step: Operator) -> None:
        """Add slope * x + (1 - slope) * relu(x), with the products as 1 x 1 convolutions of each channel.

        ONNX Runtime's own PRelu takes as long as all convolutions of the palm detector together.
        """
        (data, slope), output = step.inputs, _name(step.outputs[0])
        channels = self.graph.shape(step.outputs[0])[-1]
        kernel = self.constant("kernel_shape", [-1, 1, 1, 1], np.int64)
        slopes = self.node("Reshape", [self.weight(slope, None), kernel], f"{output}_slopes")
        others = self.node("Sub", [self.constant("one", 1.0), slopes], f"{output}_others")
        positive = self.node("Relu", [_name(data)], f"{output}_positive")
        parts = [
            self.node("Conv", [part, factors], f"{factors}_product", kernel_shape=[1, 1], group=channels)
            for part, factors in ((positive, others), (_name(data), slopes))
        ]
        self.node("Add", parts, output)

    def _add(self, step: Operator) -> None:
        self.add("Add", step, step.inputs)

    def _pool(self, step: Operator) -> None:
        kernel = [step.options.FilterHeight(), step.options.FilterWidth()]
        self.nodes.append(
            helper.make_node(
                "MaxPool",
                [_name(step.inputs[0])],
                [_name(step.outputs[0])],
                kernel_shape=kernel,
                strides=[step.options.StrideH(), step.options.StrideW()],
            )
        )

    def _pad(self, step: Operator) -> None:
        batch, rows, columns, channels = self.graph.numbers(step.inputs[1])
        pads = np.stack([batch, channels, rows, columns]).T.ravel()
        self.add("Pad", step, [step.inputs[0], self.constant(f"pads_{step.outputs[0]}", pads, np.int64)])

    def _resize(self, step: Operator) -> None:
        sizes = (self.graph.shape(tensor)[1:3] for tensor in (step.outputs[0], step.inputs[0]))
        factors = [new / old for new, old in zip(*sizes, strict=True)]
        mode = "half_pixel" if step.options.HalfPixelCenters() else "asymmetric"
        scales = self.constant(f"scales_{step.outputs[0]}", [1, 1, *factors])
        self.node(
            "Resize",
            [_name(step.inputs[0]), "", scales],
            _name(step.outputs[0]),
            mode="linear",
            coordinate_transformation_mode="align_corners" if step.options.AlignCorners() else mode,
        )

    def _reshape(self, step: Operator) -> None:
        rows = self.node("Transpose", [_name(step.inputs[0])], f"{_name(step.outputs[0])}_rows", perm=list(TO_ROWS))
        numbers = self.graph.shape(step.outputs[0])[-1]
        self.add("Reshape", step, [rows, self.constant(f"shape_{numbers}", [0, -1, numbers], np.int64)])

    def _mean(self, step: Operator) -> None:
        pooled = self.node("GlobalAveragePool", [_name(step.inputs[0])], f"{_name(step.outputs[0])}_pooled")
        self.node("Flatten", [pooled], _name(step.outputs[0]))


def _name(tensor: int) -> str:
    return f"value_{tensor}"


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after that TensorFlow's SAME adds along an axis."""
    added = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return added // 2, added - added // 2


def _member(task: Path, name: str) -> tuple[bytes, int]:
    """Return a member of the task file and the byte at which it begins there."""
    with zipfile.ZipFile(task) as archive, task.open("rb") as file:
        entry = archive.getinfo(name)
        file.seek(entry.header_offset)
        header = file.read(LOCAL_HEADER_BYTES)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        return archive.read(name), entry.header_offset + LOCAL_HEADER_BYTES + lengths


def _from_bytes(converter: _Converter, image: str) -> None:
    """Add the nodes from bytes (B, 3, S, S) to the network's floats in [0, 1]."""
    wide = converter.node("Cast", ["image"], "image_float", to=TensorProto.FLOAT)
    converter.node("Mul", [wide, converter.constant("per_byte", 1 / MAX_BYTE)], image)


def _write(
    converter: _Converter, path: Path, size: int, outputs: Mapping[str, Sequence[int]], task_sha256: str
) -> None:
    info = helper.make_tensor_value_info
    values = [info(name, TensorProto.FLOAT, [BATCH, *shape]) for name, shape in outputs.items()]
    image = info("image", TensorProto.UINT8, [BATCH, 3, size, size])
    graph = helper.make_graph(converter.nodes, path.stem, [image], values, converter.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    for key, value in {WEIGHTS_KEY: task_sha256, "handviz.version": __version__}.items():
        model.metadata_props.add(key=key, value=value)
    with atomic_path(path) as part:
        part.write_bytes(model.SerializeToString())


def _layer_names(graph: LiteGraph) -> list[str]:
    """Return the names that ``MediaPipeLandmarkNet`` has for the landmark network's layers, in their order."""
    convolutions = [name for name, part in MediaPipeHand().named_modules() if isinstance(part, nn.Conv2d)]
    steps = list(graph.operators())
    squashed = {step.inputs[0]: step.outputs[0] for step in steps if step.kind == "LOGISTIC"}
    dense = [step.outputs[0] for step in steps if step.kind == "FULLY_CONNECTED"]
    heads = [HEADS[graph.outputs.index(squashed.get(tensor, tensor))] for tensor in dense]
    return [f"backbone.{name}" for name in convolutions] + [f"heads.{name}" for name in heads]


def build_palm(path: Path = PALM_FILE, task: Path = LANDMARKER_FILE) -> Path:
    """Write the palm detector: image (B, 3, 192, 192) uint8 -> boxes (B, 2016, 18), scores (B, 2016) as logits."""
    content, start = _member(task, TASK_MEMBERS[0])
    converter = _Converter(graph := LiteGraph(content), task, start)
    _from_bytes(converter, _name(graph.inputs[0]))
    converter.convert()
    boxes, scores = graph.outputs
    converter.node("Identity", [_name(boxes)], "boxes")
    converter.node("Flatten", [_name(scores)], "scores")
    anchors, numbers = graph.shape(boxes)[1:]
    size = graph.shape(graph.inputs[0])[1]
    _write(converter, path, size, {"boxes": (anchors, numbers), "scores": (anchors,)}, sha256_of(task))
    return path


def build_landmarks(path: Path = LANDMARK_FILE, task: Path = LANDMARKER_FILE) -> Path:
    """Write the landmark network: image (B, 3, 224, 224) uint8 -> the fields of ``records.CropLandmarks``."""
    content, start = _member(task, TASK_MEMBERS[1])
    graph = LiteGraph(content)
    converter = _Converter(graph, task, start, _layer_names(graph))
    _from_bytes(converter, _name(graph.inputs[0]))
    converter.convert()
    screen, presence, handedness, world = (_name(tensor) for tensor in graph.outputs)
    points = converter.constant("points", [0, KEYPOINT_COUNT, 3], np.int64)
    in_px = converter.node("Reshape", [screen, points], "screen_px")
    halves = converter.node("Div", [in_px, converter.constant("half_px", CROP_SIZE / 2)], "screen_halves")
    converter.node("Sub", [halves, converter.constant("corner", [1.0, 1.0, 0.0])], "keypoints")
    converter.node("Reshape", [world, points], "world_m")
    one = converter.constant("one_number", [-1], np.int64)
    converter.node("Reshape", [presence, one], "presence")
    converter.node("Reshape", [handedness, one], "right_hand")
    outputs = {"keypoints": (KEYPOINT_COUNT, 3), "world_m": (KEYPOINT_COUNT, 3), "presence": (), "right_hand": ()}
    of_blocks = [step.outputs[0] for step in graph.operators()]
    for name, (channels, side) in MAPS.items():
        last = [tensor for tensor in of_blocks if tuple(graph.shape(tensor)[1:]) == (side, side, channels)][-1]
        converter.node("Identity", [_name(last)], name)
        outputs[name] = (channels, side, side)
    _write(converter, path, CROP_SIZE, outputs, sha256_of(task))
    return path


def build() -> Path:
    """Write both networks from the committed task file; return their folder."""
    return build_palm().parent if build_landmarks() else PALM_FILE.parent
