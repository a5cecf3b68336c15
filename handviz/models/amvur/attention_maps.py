"""Reads AMVUR's attention weights (two softmaxes) from the shipped files.

They are no outputs of the files, so a copy in memory gets them as outputs. ``onnx`` is imported here only, and this
module only when attention is requested.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.onnx_runtime import CPU_PROVIDER, ONNX_ERRORS, open_session, session_options
from handviz.core.paths import model_file
from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT, Detection, FloatArray, HandCrop, ModelId
from handviz.hand_models.choice import hand_model_for
from handviz.hand_models.template import HandTemplate
from handviz.models.onnx_contract import INPUT_NAME, checked_model, input_images
from handviz.models.reconstructor import HOW_TO_GET
from handviz.models.registry import list_models, model_spec
from handviz.models.shared import SharedNetworks
from handviz.models.trunk import FEATURE_NAMES, TRUNK_KEY
from handviz.rendering.highlight import AttentionShown

NEITHER = "{name} has no attention from vertices to joints and to each other, so there is none to show."


BLACK = HandCrop(
    np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), np.eye(2, 3), Detection("right", 1.0, np.zeros((KEYPOINT_COUNT, 2)))
)


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention of one hand's tokens, mean over the heads; rows sum to 1."""

    to_joints: FloatArray
    """(T, 21) float32"""
    to_tokens: FloatArray
    """(T, T) float32"""


class AttentionReader:
    """One variant's network with its attention as outputs."""

    def __init__(self, model_path: Path, template: HandTemplate, shared: SharedNetworks | None = None) -> None:
        """Load the file; HandvizError if it is missing, damaged, of another hand model, or without such attention.

        ``shared``: the landmark network and the trunk before a file of heads; None: its own.
        """
        self._path = model_path
        model = _loaded(model_path, template)
        check_attention(checked_model(model_path, _metadata(model), template.fingerprint, HOW_TO_GET))
        self._inputs = _inputs_of(model_path, model, shared or SharedNetworks())
        self._names = _attention_names(model, model_path, self._inputs(BLACK))
        content = _with_outputs(model, self._names)
        self._session = open_session(model_path, HOW_TO_GET, content=content)
        try:
            self._run(BLACK)
        except ONNX_ERRORS:
            self._session = open_session(model_path, HOW_TO_GET, content=content, device="cpu")
            self._run(BLACK)

    def maps(self, crop: HandCrop) -> AttentionMaps:
        """Return the attention for the hand in a crop; HandvizError if it is not finite."""
        to_joints, to_tokens = (heads[0].mean(axis=0) for heads in self._run(crop))
        if not (np.isfinite(to_joints).all() and np.isfinite(to_tokens).all()):
            raise HandvizError(
                f"{self._path.name} gave attention weights that are not finite; {HOW_TO_GET}", ErrorCode.NOT_FINITE
            )
        return AttentionMaps(to_joints, to_tokens)

    def _run(self, crop: HandCrop) -> list[FloatArray]:
        """Run a crop; return the weights (1, heads, T, 21) and (1, heads, T, T)."""
        inputs = self._inputs(crop)
        wanted = {item.name: inputs[item.name] for item in self._session.get_inputs()}
        return [np.asarray(found) for found in self._session.run(list(self._names), wanted)]


def check_attention(model: ModelId) -> None:
    """Raise HandvizError unless the registry says that this model of AMVUR's has attention to show."""
    spec = model_spec(model)
    if spec.family != "amvur" or "attention" not in spec.provides:
        having = [other.label for other in list_models() if other.family == "amvur" and "attention" in other.provides]
        raise HandvizError(
            f"{spec.label} has no attention to show: choose {' or '.join(having)}.", ErrorCode.NOT_PROVIDED
        )


def attention_of_vertex(maps: AttentionMaps, template: HandTemplate, vertex: int) -> AttentionShown:
    """Return the attention of one of the template's vertices: the mean of its tokens', weighted as in the lift."""
    asking = _full_from_tokens(maps, template)[vertex]
    even = asking @ maps.to_tokens * len(maps.to_tokens)
    joints = np.maximum(asking @ maps.to_joints, 0)
    return AttentionShown(_lifted(maps, template, even), joints / joints.sum())


def attention_to_joint(maps: AttentionMaps, template: HandTemplate, joint: int) -> AttentionShown:
    """Return every vertex's attention to one of the 21 joints; the joint itself has no query."""
    return AttentionShown(_lifted(maps, template, maps.to_joints[:, joint] * KEYPOINT_COUNT))


class AttentionSource:
    """Attention of picked points; caches the network of one model and the maps of one crop."""

    def __init__(self, model_dir: Path) -> None:
        self._model_dir = model_dir
        self._template = hand_model_for(None, model_dir)
        self._shared = SharedNetworks()
        self._reader: tuple[ModelId, AttentionReader] | None = None
        self._maps: tuple[ModelId, HandCrop, AttentionMaps] | None = None

    def knows(self, crop: HandCrop, model: ModelId) -> bool:
        """Return whether ``ask`` for this crop and model needs no run of the network."""
        return self._maps is not None and self._maps[0] == model and self._maps[1] is crop

    def prepare(self, model: ModelId) -> None:
        """Load this model's network unless it is loaded; HandvizError if it has no attention."""
        self._reader_of(model)

    def ask(self, crop: HandCrop, model: ModelId, *, vertex: int | None, joint: int | None) -> AttentionShown:
        """Return the attention of a vertex or, without one, to a joint; HandvizError if this model has none."""
        if self._maps is None or not self.knows(crop, model):
            self._maps = model, crop, self._reader_of(model).maps(crop)
        maps = self._maps[2]
        if vertex is not None:
            return attention_of_vertex(maps, self._template, vertex)
        return attention_to_joint(maps, self._template, joint or 0)

    def _reader_of(self, model: ModelId) -> AttentionReader:
        if self._reader is None or self._reader[0] != model:
            check_attention(model)
            self._reader = model, AttentionReader(model_file(model, self._model_dir), self._template, self._shared)
        return self._reader[1]


def _lifted(maps: AttentionMaps, template: HandTemplate, tokens: FloatArray) -> FloatArray:
    return np.maximum(_full_from_tokens(maps, template) @ tokens, 0)


def _full_from_tokens(maps: AttentionMaps, template: HandTemplate) -> FloatArray:
    """Return the lift (V, T): from the coarse vertices, or the identity if every vertex is a token."""
    count = len(maps.to_tokens)
    return np.eye(count) if count == template.vertex_count else template.full_from_coarse


def _loaded(path: Path, template: HandTemplate) -> onnx.ModelProto:
    if not path.is_file():
        raise HandvizError(f"the network {path} is missing; {HOW_TO_GET}", ErrorCode.MODEL_MISSING)
    try:
        return onnx.load(path)
    except DecodeError as error:
        raise HandvizError(
            f"{path} is truncated or not an ONNX file ({error}); {HOW_TO_GET}", ErrorCode.MODEL_DAMAGED
        ) from error


def _inputs_of(path: Path, model: onnx.ModelProto, shared: SharedNetworks) -> Callable[[HandCrop], Mapping[str, Any]]:
    """Return what makes the inputs of the file, by their names, of a crop; HandvizError if its trunk is not there."""
    inputs = {item.name: item for item in model.graph.input}
    if inputs.keys() == set(FEATURE_NAMES):
        trunk = shared.trunk_of(path, _metadata(model).get(TRUNK_KEY, ""))
        return lambda crop: trunk.features(shared.landmarks_of([crop])).feed()
    takes_bytes = INPUT_NAME in inputs and inputs[INPUT_NAME].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    return lambda crop: {INPUT_NAME: input_images([crop], takes_bytes=takes_bytes)}


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _attention_names(model: onnx.ModelProto, path: Path, black: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of the softmaxes (1, heads, T, 21) and (1, heads, T, T) of the last block, found by their
    shapes for the inputs of a black image.

    The softmaxes of the joint features have 22 tokens: only the AMVUR head has more rows than joints.
    """
    names = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    if not names:
        raise HandvizError(NEITHER.format(name=path.name), ErrorCode.MODEL_FOREIGN)
    session = onnxruntime.InferenceSession(_with_outputs(model, names), session_options(), providers=[CPU_PROVIDER])
    wanted = {item.name: black[item.name] for item in session.get_inputs()}
    shapes = dict(zip(names, (np.shape(found) for found in session.run(names, wanted)), strict=True))
    wide = {name: shape[2:] for name, shape in shapes.items() if len(shape) == 4 and shape[2] > KEYPOINT_COUNT + 1}
    to_joints = [name for name, (_, keys) in wide.items() if keys == KEYPOINT_COUNT]
    to_tokens = [name for name, (rows, keys) in wide.items() if keys == rows]
    if not to_joints or not to_tokens:
        raise HandvizError(NEITHER.format(name=path.name), ErrorCode.MODEL_FOREIGN)
    return to_joints[-1], to_tokens[-1]


def _with_outputs(model: onnx.ModelProto, names: list[str] | tuple[str, ...]) -> bytes:
    """Return the part of the network that these values need, with them as its outputs."""
    nodes = list(model.graph.node)
    producer = {name: number for number, node in enumerate(nodes) for name in node.output}
    pending, needed = list(names), set()
    while pending:
        number = producer.get(pending.pop())
        if number is not None and number not in needed:
            needed.add(number)
            pending += nodes[number].input
    parts = [nodes[number] for number in sorted(needed)]
    used = {name for node in parts for name in node.input}
    graph = onnx.helper.make_graph(
        parts,
        model.graph.name,
        list(model.graph.input),
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [constant for constant in model.graph.initializer if constant.name in used],
    )
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(part.SerializeToString())
