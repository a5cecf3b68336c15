"""Writes a network of any family as an ONNX file, with its metadata and without the exporter's log output."""

import copy
import logging
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from handviz import __version__
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.core.onnx_runtime import session_options
from handviz.core.records import CROP_SIZE
from handviz.hand_models.template import HandTemplate
from handviz.models.base import ModelSpec

Rounded = TypeVar("Rounded", bound=nn.Module)
INPUT_NAME = "image"
IMAGE_SHAPE = (3, CROP_SIZE, CROP_SIZE)
MAX_BYTE = 255
OPSET = 18
MAX_BATCH, MAX_VIEWS = 1024, 64
MIN_HALVED = 1024
"""Size from which a constant is stored as float16."""
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx")
"""Loggers that report every rewritten node, or that torchvision is missing."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Log errors only, and silence torch's warnings about its own deprecated calls."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec", category=FutureWarning)
            # Of several inputs that share their free dimension.
            warnings.filterwarnings(
                "ignore", message=r"# The axis name: (batch|views) will not be used", category=UserWarning
            )
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _pairs_of_slices_sought_at_slices() -> Iterator[None]:
    """Let the exporter's optimizer look for a pair of slices only where the first of them is; the files are the same.

    At every other node it would sort all nodes of the graph before it finds that the first is none: a quarter of the
    time of an export.
    """
    # Here, because it takes half as long to import as torch.
    from onnxscript.rewriter import RewriteRule
    from onnxscript.rewriter.rules.common import slice_split_rule

    def try_rewrite(model: Any, graph: Any, node: Any, **options: Any) -> Any:
        return (
            RewriteRule.try_rewrite(slice_split_rule, model, graph, node, **options)
            if node.op_type == "Slice"
            else None
        )

    slice_split_rule.try_rewrite = try_rewrite
    try:
        yield
    finally:
        del slice_split_rule.try_rewrite


def write_onnx(
    network: nn.Module,
    path: Path,
    output_names: Sequence[str],
    inputs: Mapping[str, tuple[int, ...]] = MappingProxyType({INPUT_NAME: IMAGE_SHAPE}),
    kind: torch.dtype = torch.float32,
    *,
    views: bool = False,
) -> None:
    """Write a network of images (B, 3, 224, 224), or of other inputs by name and shape behind B, with B free.

    ``kind``: of all inputs. ``views``: whether a second free axis, of a hand's views, follows B in all inputs.
    """
    free = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    if views:
        free[1] = torch.export.Dim("views", min=1, max=MAX_VIEWS)
    # Two sizes, since the exporter takes equal ones for one.
    example = (2, 3)[: len(free)]
    with _quiet(), _pairs_of_slices_sought_at_slices():
        torch.onnx.export(
            network.eval(),
            tuple(torch.zeros(*example, *shape, dtype=kind) for shape in inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(output_names),
            dynamic_shapes=tuple(dict(free) for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def store_as_half(path: Path) -> None:
    """Store every large constant that float16 holds exactly as float16, cast to float32 when the file is loaded."""
    model = onnx.load(path)
    casts = []
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if constant.data_type != TensorProto.FLOAT or values.size < MIN_HALVED:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def rounded_to_half(model: Rounded) -> Rounded:
    """Round every weight, in place, to the nearest number that float16 represents; return the model."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            half = weight.half().float()
            if not half.isfinite().all():
                raise HandvizError(
                    f"the weight {name} holds numbers that are not finite or too large for float16",
                    ErrorCode.NOT_FINITE,
                )
            weight.copy_(half)
    return model


def without_norms(model: Rounded) -> Rounded:
    """Return a copy of a network in evaluation in which normalisations are part of the convolutions before them.

    Otherwise the exporter folds them after the rounding, and no weight is a float16 any more.
    """
    folded = copy.deepcopy(model).eval()
    for module in folded.modules():
        children = dict(module.named_children())
        before: tuple[str, nn.Module] | None = None
        for name, child in children.items():
            if isinstance(child, nn.BatchNorm2d) and before is not None and isinstance(before[1], nn.Conv2d):
                setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(module, name, nn.Identity())
            before = name, child
    return folded


def entries_of_model(spec: ModelSpec, provides: Collection[str]) -> dict[str, str]:
    """Return the metadata by which a file says which model it is, what it takes and what it predicts (``PROVISIONS``).

    The input of a whole file is ``as_floats`` of bytes; of heads it is that of the landmark network before them.
    """
    return {
        "handviz.model": spec.id,
        "handviz.family": spec.family,
        "handviz.provides": ",".join(sorted(provides)),
        "handviz.input": f"uint8 3x{spec.crop.size_px}x{spec.crop.size_px}",
    }


def as_floats(image: Tensor) -> Tensor:
    """Return images (B, 3, S, S) in [0, 1]: of bytes, which exported files take, or of floats."""
    return image.float() / MAX_BYTE if image.dtype == torch.uint8 else image


def as_bytes(image: Tensor) -> Tensor:
    """Return the nearest bytes of images in [0, 1]."""
    return (image * MAX_BYTE).round().to(torch.uint8)


def add_metadata(path: Path, template: HandTemplate | None, entries: dict[str, str]) -> None:
    """Write an ONNX file's metadata: the hand model, unless it has none, the version and ``entries``."""
    model = onnx.load(path)
    made_for = {} if template is None else entries_of_hand_model(template)
    entries = {**made_for, "handviz.version": __version__, **entries}
    _forget_the_exporter(model)
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def entries_of_hand_model(template: HandTemplate) -> dict[str, str]:
    """Return the metadata by which a file says which hand model its meshes have."""
    return {"handviz.hand_model": template.name, "handviz.fingerprint": template.fingerprint}


def _forget_the_exporter(model: onnx.ModelProto) -> None:
    """Remove the exporter's metadata of every node: paths of the exporting machine, a third of a file."""
    graph = model.graph
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def write_checked(
    path: Path, write: Callable[[Path], None], difference_of: Callable[[Path], float], limit: float, unit: str = ""
) -> float:
    """Write a file, compare it with PyTorch, put it in its place and return the difference.

    HandvizError if that is above ``limit``, or not a number.
    """
    make_folder(path.parent)
    with atomic_path(path) as part:
        write(part)
        difference = difference_of(part)
        if not difference <= limit:
            raise HandvizError(
                f"the ONNX file differs from PyTorch by {difference:.2g}{unit and f' {unit}'}; it is saved as "
                f"{_refused(part, path)}",
                ErrorCode.OUTPUT_DIFFERS,
            )
    return difference


@torch.no_grad()
def largest_difference(
    network: nn.Module, path: Path, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]
) -> float:
    """Return the largest difference of any output of a file from its network, whose inputs are in the same order."""
    session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    found = session.run(list(outputs), dict(inputs))
    expected = network(*(torch.from_numpy(array) for array in inputs.values()))
    # Python's max would ignore NaN.
    return float(np.max([np.abs(mine - true.numpy()).max() for mine, true in zip(found, expected, strict=True)]))


def _refused(part: Path, path: Path) -> Path:
    """Move a file that failed its check to NAME.refused beside its destination; return that path."""
    refused_path = path.with_name(path.name + ".refused")
    os.replace(part, refused_path)
    return refused_path
