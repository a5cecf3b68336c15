"""``python -m tools.build backbone``: MediaPipe's landmark network, TensorFlow Lite -> safetensors (needs tflite).

``python -m tools.build backbone-reference`` writes the reference that the tests compare with: it runs the
original file and needs ai-edge-litert for that.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, open_atomic
from handviz.core.paths import BACKBONE_FILE, PROJECT_ROOT
from handviz.models.backbones.mediapipe_hand import MediaPipeLandmarkNet
from tools.mediapipe_wheel import HAND_LANDMARK, wheel_members

REFERENCE_FILE = PROJECT_ROOT / "tests" / "data" / "mediapipe_hand_reference.npz"
HEAD_LAYERS = {
    "conv_landmarks": "screen",
    "conv_handflag": "presence",
    "conv_handedness": "handedness",
    "conv_world_landmarks": "world",
}
REFERENCE_OUTPUTS = ("screen_px", "presence", "handedness", "world_m")
"""In the order of the file's output tensors."""


_Weights = tuple[NDArray[np.float16], NDArray[np.float16]]
"""Weight and bias of one layer."""


class _Graph:
    """The one subgraph of a TensorFlow Lite file, its weights resolved through DEQUANTIZE."""

    def __init__(self, content: bytes) -> None:
        self._model = tflite.Model.GetRootAsModel(content, 0)
        self._graph = self._model.Subgraphs(0)
        self._source_of = {
            int(operator.Outputs(0)): int(operator.Inputs(0))
            for operator in self._operators()
            if self._code(operator) == tflite.BuiltinOperator.DEQUANTIZE
        }

    def _operators(self) -> Iterator[tflite.Operator]:
        return (self._graph.Operators(index) for index in range(self._graph.OperatorsLength()))

    def _code(self, operator: tflite.Operator) -> int:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())

    def _constant(self, index: int) -> NDArray[np.float16]:
        tensor = self._graph.Tensors(self._source_of[index])
        if tensor.Type() != tflite.TensorType.FLOAT16:
            raise HandvizError(
                f"{tensor.Name().decode()} is not fp16: another network than the known one", ErrorCode.BAD_VALUE
            )
        content = self._model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        return np.frombuffer(content, np.float16).reshape(tensor.ShapeAsNumpy())

    def layers(self, code: int) -> Iterator[tuple[str, NDArray[np.float16], NDArray[np.float16]]]:
        """Return name, weight and bias of every operator of this kind, in the order of execution."""
        for operator in self._operators():
            if self._code(operator) == code:
                name = self._graph.Tensors(operator.Inputs(1)).Name().decode()
                yield name, self._constant(operator.Inputs(1)), self._constant(operator.Inputs(2))

    def convolutions(self) -> Iterator[_Weights]:
        """Return weight (out, in, k, k) and bias of every convolution, depthwise too, in the order of execution."""
        dense, depthwise = tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D
        for operator in self._operators():
            if self._code(operator) in (dense, depthwise):
                order = (0, 3, 1, 2) if self._code(operator) == dense else (3, 0, 1, 2)
                yield (
                    self._constant(operator.Inputs(1)).transpose(order),
                    self._constant(operator.Inputs(2)),
                )


def weights_from_tflite(content: bytes) -> dict[str, Tensor]:
    """Return the state dict (fp16) of ``MediaPipeLandmarkNet`` from the file; HandvizError if shapes differ."""
    graph, network = _Graph(content), MediaPipeLandmarkNet().half()
    modules = [module for module in network.backbone.modules() if isinstance(module, nn.Conv2d)]
    pairs: list[tuple[nn.Module, _Weights]] = list(zip(modules, graph.convolutions(), strict=True))
    for name, weight, bias in graph.layers(tflite.BuiltinOperator.FULLY_CONNECTED):
        attribute = next(head for layer, head in HEAD_LAYERS.items() if f"/{layer}/" in name)
        pairs.append((getattr(network.heads, attribute), (weight, bias)))
    for module, (weight, bias) in pairs:
        state = module.state_dict()
        if tuple(state["weight"].shape) != weight.shape:
            raise HandvizError(
                f"expected weights {tuple(state['weight'].shape)}, the file has {weight.shape}", ErrorCode.BAD_VALUE
            )
        state["weight"].copy_(torch.from_numpy(weight.copy()))
        state["bias"].copy_(torch.from_numpy(bias.copy()))
    return network.state_dict()


def build() -> Path:
    """Write ``models/mediapipe_hand.safetensors`` from the mediapipe wheel and return its path."""
    content = wheel_members([HAND_LANDMARK])[HAND_LANDMARK]
    with atomic_path(BACKBONE_FILE) as part:
        save_file(weights_from_tflite(content), part)
    return BACKBONE_FILE


def reference_crop() -> NDArray[np.uint8]:
    """Draw an open hand (224, 224, 3) from capsules that MediaPipe still recognises."""
    y, x = np.mgrid[:224, :224].astype(np.float64) + 0.5
    image = np.stack([90 + 0.2 * x, 110 + 0.15 * y, 130 - 0.1 * x], axis=-1)
    fingers: list[tuple[tuple[int, int], tuple[int, int], float]]
    fingers = [((112, 200), (112, 150), 34), ((92, 150), (50, 112), 11), ((92, 120), (80, 52), 10)]
    fingers += [((108, 116), (106, 38), 10.5), ((124, 120), (131, 48), 10), ((138, 128), (154, 72), 8.5)]
    fingers += [((112, 224), (112, 200), 24), ((100, 128), (128, 130), 22)]
    for (start_x, start_y), (end_x, end_y), radius in fingers:
        along_x, along_y = end_x - start_x, end_y - start_y
        fraction = ((x - start_x) * along_x + (y - start_y) * along_y) / (along_x**2 + along_y**2)
        fraction = np.clip(fraction, 0, 1)
        distance = np.hypot(x - start_x - fraction * along_x, y - start_y - fraction * along_y) / radius
        skin = np.array([224.0, 172.0, 140.0]) * (1 - 0.35 * distance[..., None] ** 2)
        image = np.where(distance[..., None] < 1, skin, image)
    return image.clip(0, 255).astype(np.uint8)


def build_reference() -> Path:
    """Run the original file in TensorFlow Lite and store crop and outputs for the tests."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=wheel_members([HAND_LANDMARK])[HAND_LANDMARK])
    interpreter.allocate_tensors()
    crop = reference_crop()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], crop[None].astype(np.float32) / 255)
    interpreter.invoke()
    details = interpreter.get_output_details()
    outputs = {
        name: interpreter.get_tensor(detail["index"])[0]
        for name, detail in zip(REFERENCE_OUTPUTS, details, strict=True)
    }
    with open_atomic(REFERENCE_FILE) as file:
        np.savez_compressed(file, crop=crop, **outputs)
    return REFERENCE_FILE
