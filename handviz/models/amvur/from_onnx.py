"""Reads an exported ONNX file back into its PyTorch module, to train it further, and compares the two.

The exporter keeps most names. Weights of linear layers on tokens are stored transposed under a number; they are found
by the named bias that is added to their product, by the named product that they are added to, or as the only one of
their shape. Where a weight was multiplied with the rest pose, that is undone. The camera's standard deviations, which
no output needs, are not in the file and are initialised again.

Of a file of heads the weights before them come from the trunk's file and, as far as they are MediaPipe's own, from
those that every new module has.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.onnx_runtime import ONNX_ERRORS
from handviz.core.paths import MODELS, TRUNK_NAME
from handviz.core.records import CROP_SIZE
from handviz.core.units import CENTIMETRES_PER_DECIMETRE
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.export import (
    CONFIG_KEY,
    HEADS,
    CalibrationMetadata,
    ExportMetadata,
    ExportModel,
    largest_difference_cm,
    trunk_fingerprint,
)
from handviz.models.amvur.model import (
    PLAIN_FORM,
    HandModel,
    ModelConfig,
    build_model,
    config_from_saved,
    current_weight_name,
)
from handviz.models.amvur.network import TokenLinear, VertexAttention
from handviz.models.shared import trunk_file
from handviz.models.trunk import TRUNK_KEY

PREFIX = "model."
NOT_IN_FILE = ("heads.camera.log_variance.weight", "heads.camera.log_variance.bias")
PASSED_THROUGH = ("Unsqueeze", "Reshape", "Expand", "Cast")
LANDMARKS = "landmark_head."
OF_LANDMARK_NETWORK = (LANDMARKS, "backbone.first.", "backbone.stem_blocks.")
"""Beginnings of the names of the weights that no file of heads or trunk holds."""
CHECKED_CROPS = 2
DAMAGED: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    OSError,
    DecodeError,
    np.linalg.LinAlgError,
    onnx.checker.ValidationError,
    *ONNX_ERRORS,
)
"""What reading the constants and the graph of a damaged file raises."""
UNRUNNABLE: tuple[type[Exception], ...] = (*DAMAGED, HandvizError)
SAME_ANSWER_CM = 1e-3
"""For images of noise, where some networks exceed single precision; a misplaced weight shows in millimetres."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """The content of an ONNX file of handviz."""

    model: HandModel
    config: ModelConfig
    metadata: ExportMetadata


def read_onnx(path: Path, template: HandTemplate) -> Exported:
    """Return the module with the file's outputs.

    HandvizError if the file is not of handviz or of another hand model, or if no module of this version has its
    outputs.
    """
    graph = _graph_of(path)
    entries = graph.metadata
    trunk_path = trunk_file(path) if TRUNK_KEY in entries else None
    trunk = None if trunk_path is None else _graph_of(trunk_path)
    if entries.get("handviz.fingerprint") != template.fingerprint:
        made_for = entries.get("handviz.hand_model", "no hand model")
        raise HandvizError(
            f"{path} was made for {made_for}, not for {template.name} {template.fingerprint[:12]}",
            ErrorCode.MODEL_MISMATCH,
        )
    try:
        named = graph.named | ({} if trunk is None else trunk.named)
        config, metadata = _config(entries, named), _metadata(entries)
        model = build_model(config, template)
        arrays = _weights(graph, model, *([HEADS] if trunk is not None else []))
        if trunk is not None:
            arrays |= _weights(trunk, model, "backbone.", "features.")
        weights = {name: torch.from_numpy(value) for name, value in arrays.items()}
        missing, _ = model.load_state_dict(weights, strict=False)
    except DAMAGED as error:
        raise HandvizError(
            f"{path} cannot be trained on: its weights are not where they should be ({error})", ErrorCode.MODEL_FOREIGN
        ) from error
    elsewhere = OF_LANDMARK_NETWORK if trunk is not None else ()
    missing_weights = sorted(name for name in missing if name not in NOT_IN_FILE and not name.startswith(elsewhere))
    if missing_weights:
        raise HandvizError(
            f"{path} cannot be trained on: it lacks {', '.join(missing_weights[:3])}", ErrorCode.MODEL_FOREIGN
        )
    if trunk_path is not None and trunk_fingerprint(model) != entries[TRUNK_KEY]:
        raise HandvizError(
            f"{path} belongs to the trunk {entries[TRUNK_KEY][:12]}, and {trunk_path} is another: put the trunk that "
            "it was exported with beside it",
            ErrorCode.MODEL_MISMATCH,
        )
    _check_answers(path, ExportModel(model, template, metadata.std).eval(), trunk_path or MODELS / TRUNK_NAME)
    return Exported(model, config, metadata)


def _graph_of(path: Path) -> "_Graph":
    try:
        # A file of handviz names no others, so none that a stranger's file names is opened.
        return _Graph(onnx.load(path, load_external_data=False))
    except DAMAGED as error:
        raise HandvizError(
            f"{path} is missing, truncated or not an ONNX file ({error})", ErrorCode.MODEL_DAMAGED
        ) from error


def _check_answers(path: Path, exported: ExportModel, trunk: Path) -> None:
    images = torch.rand(CHECKED_CROPS, 3, CROP_SIZE, CROP_SIZE, generator=torch.Generator().manual_seed(1))
    try:
        difference = largest_difference_cm(exported, path, images, trunk)
    except UNRUNNABLE as error:
        raise HandvizError(
            f"{path} cannot be run, so that it cannot be trained on ({error})", ErrorCode.MODEL_DAMAGED
        ) from error
    if not difference <= SAME_ANSWER_CM:
        raise HandvizError(
            f"{path} gives other outputs than this version's network, by {difference:.2g} cm", ErrorCode.OUTPUT_DIFFERS
        )


def _rename_former_modules(graph: onnx.GraphProto) -> None:
    """Rename weights that version 0.1 exported to their current names."""
    for constant in graph.initializer:
        constant.name = _current_name(constant.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = _current_name(name)


def _current_name(name: str) -> str:
    if not name.startswith(PREFIX):
        return name
    return PREFIX + current_weight_name(name.removeprefix(PREFIX))


class _Graph:
    """The constants of an ONNX file, and the nodes that make and use each value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        _rename_former_modules(model.graph)
        self.nodes = list(model.graph.node)
        constants = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Cast" and node.input[0] in constants:
                constants[node.output[0]] = constants[node.input[0]].astype(np.float32)
        self.constants: dict[str, NDArray[np.floating]] = constants
        self.named = {name.removeprefix(PREFIX): value for name, value in constants.items() if name.startswith(PREFIX)}
        self.maker = {name: node for node in self.nodes for name in node.output}

    def users(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    def added_to(self, name: str) -> str | None:
        """Return the other summand where a value, perhaps reshaped before, is added to something."""
        for node in self.users(name):
            if node.op_type == "Add":
                return str(node.input[1] if node.input[0] == name else node.input[0])
            if node.op_type in PASSED_THROUGH and node.input[0] == name:
                found = self.added_to(node.output[0])
                if found is not None:
                    return found
        return None

    def factor(self, product: str | None) -> NDArray[np.floating] | None:
        """Return the constant factor of a MatMul's result."""
        node = self.maker.get(product or "")
        return self.constants.get(node.input[1]) if node is not None and node.op_type == "MatMul" else None

    def of_feature(self, weight: str) -> str | None:
        """Return the output name of the linear layer with a named weight."""
        found = [node.output[0] for node in self.users(PREFIX + weight) if node.op_type in ("Gemm", "MatMul")]
        return str(found[0]) if len(found) == 1 else None


def _metadata(entries: Mapping[str, str]) -> ExportMetadata:
    scales = [
        float(entries[f"handviz.{name}"]) for name in (field.name for field in dataclasses.fields(CalibrationMetadata))
    ]
    return ExportMetadata(entries["handviz.commit"], int(entries["handviz.samples_seen"]), CalibrationMetadata(*scales))


def _config(entries: Mapping[str, str], named: Mapping[str, NDArray[np.floating]]) -> ModelConfig:
    """Return the network's config: the file's own, of older files from other metadata and the shapes of weights."""
    if CONFIG_KEY in entries:
        return config_from_saved(json.loads(entries[CONFIG_KEY]))
    tokens, _, width = entries["handviz.tokens"].partition(" x ")
    layers = {match[1] for name in named if (match := re.match(r"features\.layers\.(\d+)\.", name))}
    query = named.get("features.query")
    default = ModelConfig()
    return ModelConfig(
        variant=entries["handviz.variant"],  # type: ignore[arg-type]
        backbone=entries["handviz.backbone"],
        tokens=tokens,
        features=entries["handviz.evidence"],
        width=int(width),
        conditioning="rest" if "heads.amvur.rest_cm" in named else default.conditioning,
        landmark_stem="landmark_head.backbone.first.weight" in named,
        feature_width=default.feature_width if query is None else query.shape[2],
        feature_layers=len(layers) or default.feature_layers,
        regressor_width=named["heads.camera.hidden.0.weight"].shape[0],
        **PLAIN_FORM,
    )


def _weights(graph: _Graph, model: HandModel, *parts: str) -> dict[str, NDArray[np.floating]]:
    """Return every weight of the module that the file holds, by the module's names; ``parts``: only what begins so."""
    expected = {name: weight for name, weight in model.state_dict().items() if name.startswith(parts or "")}
    found = {name: graph.named[name] for name in expected if name in graph.named}
    for name in expected:  # Untrained blocks equal those of the landmark head, and equal constants are stored once.
        if name not in found and (twin := _twin(name)) in graph.named:
            found[name] = graph.named[twin]
    used: set[int] = set()
    for name, module in model.named_modules():
        if f"{name}.weight" in expected and f"{name}.weight" not in found and f"{name}.bias" in graph.named:
            _take(found, f"{name}.weight", graph.factor(graph.added_to(PREFIX + f"{name}.bias")), used)
        if isinstance(module, TokenLinear) and f"{name}.of_position.weight" in expected:
            _take(found, f"{name}.of_position.weight", _of_position(graph, name, model), used)
    for name, weight in expected.items():
        if name not in found and name not in NOT_IN_FILE:
            _take(found, name, _only_one(graph, weight, used), used)
    return {name: np.array(value, np.float32) for name, value in found.items()}


def _twin(name: str) -> str:
    """Return the name of the landmark head's weight that equals a backbone's weight, or the other way round."""
    return name.removeprefix(LANDMARKS) if name.startswith(LANDMARKS) else LANDMARKS + name


def _take(
    found: dict[str, NDArray[np.floating]], name: str, transposed: NDArray[np.floating] | None, used: set[int]
) -> None:
    if transposed is not None and name not in found:
        found[name] = transposed.T
        used.add(id(transposed))


def _only_one(graph: _Graph, weight: Tensor, used: set[int]) -> NDArray[np.floating] | None:
    """Return the factor of the transposed shape that no other weight has taken, if there is exactly one."""
    factors = [graph.factor(node.output[0]) for node in graph.nodes if node.op_type == "MatMul"]
    shape = tuple(reversed(weight.shape))
    fitting = [factor for factor in factors if factor is not None and factor.shape == shape and id(factor) not in used]
    return fitting[0] if len(fitting) == 1 else None


def _of_position(graph: _Graph, name: str, model: nn.Module) -> NDArray[np.floating] | None:
    """Return the transposed weight (P, width) of a token layer's positions."""
    summand = graph.added_to(graph.of_feature(f"{name}.of_feature.weight") or "")
    factor = graph.factor(summand)
    if factor is not None or summand not in graph.constants:
        return factor
    # Multiplied with the rest pose when the file was written.
    attention = model.get_submodule(name.rpartition(".")[0])
    assert isinstance(attention, VertexAttention)
    product = graph.constants[summand][0].astype(np.float64)
    for positions in (attention.rest_tokens, attention.rest_keypoints):
        if positions.shape[1] == len(product):
            positions_dm = positions[0].double().numpy() / CENTIMETRES_PER_DECIMETRE
            return np.linalg.lstsq(positions_dm, product, rcond=None)[0]
    return None
