"""Reads a TensorFlow Lite file: its operators in order, their shapes, and where in the file each weight lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from mediapipe.tasks.metadata import schema_py_generated as schema
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError


def _names(kind: type) -> dict[int, str]:
    """Return the names of an enumeration of the schema by number."""
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


OPERATORS, ACTIVATIONS, PADDINGS = (
    _names(kind) for kind in (schema.BuiltinOperator, schema.ActivationFunctionType, schema.Padding)
)
OPTIONS = {
    "CONV_2D": schema.Conv2DOptions,
    "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptions,
    "MAX_POOL_2D": schema.Pool2DOptions,
    "ADD": schema.AddOptions,
    "RESIZE_BILINEAR": schema.ResizeBilinearOptions,
}


@dataclass(frozen=True)
class Place:
    """Where a weight of float16 lies in its file."""

    shape: tuple[int, ...]
    start: int
    """Byte."""
    length: int
    """Bytes."""


@dataclass(frozen=True, eq=False)
class Operator:
    """One step of the network."""

    kind: str
    """Its name in the schema, such as "CONV_2D"."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    """Numbers of tensors."""
    options: Any
    """The schema's options of this kind, None for kinds without any that matter."""

    @property
    def activation(self) -> str:
        """The function that is applied to the result, such as "RELU6" or "NONE"."""
        return ACTIVATIONS[self.options.FusedActivationFunction()] if self.options is not None else "NONE"


class LiteGraph:
    """The one subgraph of a TensorFlow Lite file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._model = schema.Model.GetRootAs(content, 0)
        self._graph = self._model.Subgraphs(0)
        self.outputs: tuple[int, ...] = tuple(int(index) for index in self._graph.OutputsAsNumpy())
        self.inputs: tuple[int, ...] = tuple(int(index) for index in self._graph.InputsAsNumpy())
        self._half_of = {step.outputs[0]: step.inputs[0] for step in self._steps() if step.kind == "DEQUANTIZE"}

    def operators(self) -> Iterator[Operator]:
        """Yield the steps in their order, without those that only turn weights into float32."""
        return (step for step in self._steps() if step.kind != "DEQUANTIZE")

    def _steps(self) -> Iterator[Operator]:
        for index in range(self._graph.OperatorsLength()):
            found = self._graph.Operators(index)
            code = self._model.OperatorCodes(found.OpcodeIndex())
            kind = OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            inputs, outputs = (
                tuple(int(one) for one in part) for part in (found.InputsAsNumpy(), found.OutputsAsNumpy())
            )
            yield Operator(kind, inputs, outputs, _options(kind, found))

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor, for one image."""
        return tuple(int(size) for size in self._graph.Tensors(tensor).ShapeAsNumpy())

    def is_weight(self, tensor: int) -> bool:
        """Return whether a tensor is a weight of float16, turned into float32."""
        return tensor in self._half_of

    def place(self, tensor: int) -> Place:
        """Return where the weight lies in the file; HandvizError unless it is float16."""
        stored = self._graph.Tensors(self._half_of[tensor])
        if stored.Type() != schema.TensorType.FLOAT16:
            name = stored.Name().decode("utf-8", "replace")
            raise HandvizError(f"{name} is not float16: it is another network than the known one", ErrorCode.BAD_VALUE)
        content = self._model.Buffers(stored.Buffer()).DataAsNumpy()
        # The view shares its memory with the whole file's.
        whole = np.frombuffer(self._content, np.uint8)
        start = content.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        return Place(self.shape(self._half_of[tensor]), int(start), content.size)

    def numbers(self, tensor: int) -> NDArray[np.int32]:
        """Return a constant of int32, such as paddings."""
        buffer = self._model.Buffers(self._graph.Tensors(tensor).Buffer()).DataAsNumpy()
        return np.frombuffer(buffer.tobytes(), np.int32).reshape(self.shape(tensor))


def _options(kind: str, found: Any) -> Any:
    if kind not in OPTIONS or found.BuiltinOptions() is None:
        return None
    table, options = found.BuiltinOptions(), OPTIONS[kind]()
    options.Init(table.Bytes, table.Pos)
    return options
