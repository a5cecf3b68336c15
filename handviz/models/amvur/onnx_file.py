"""Writes a network as an ONNX file, without the exporter's log output."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from handviz.core.records import CROP_SIZE

INPUT_NAME = "image"
IMAGE_SHAPE = (3, CROP_SIZE, CROP_SIZE)
OPSET = 18
MAX_BATCH = 1024
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
            warnings.filterwarnings("ignore", message=r"# The axis name: batch will not be used", category=UserWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def write_onnx(
    network: nn.Module,
    path: Path,
    output_names: Sequence[str],
    inputs: Mapping[str, tuple[int, ...]] = MappingProxyType({INPUT_NAME: IMAGE_SHAPE}),
) -> None:
    """Write a network of images (B, 3, 224, 224), or of other inputs by name and shape behind B, with B free."""
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    with _quiet():
        torch.onnx.export(
            network.eval(),
            tuple(torch.zeros(2, *shape) for shape in inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(output_names),
            dynamic_shapes=tuple({0: batch} for _ in inputs),
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
