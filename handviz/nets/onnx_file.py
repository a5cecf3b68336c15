"""Writes a network of images as an ONNX file, without the exporter's chatter."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from handviz.records import CROP_SIZE

INPUT_NAME = "image"
IMAGE_SHAPE = (3, CROP_SIZE, CROP_SIZE)
OPSET = 18
LARGEST_BATCH = 1024
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx")
"""Loggers that report every rewritten node, or that torchvision is not there."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Errors only; torch's own use of what it deprecates itself is not our user's concern."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec", category=FutureWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def write_onnx(
    network: nn.Module, path: Path, output_names: Sequence[str], input_shape: tuple[int, ...] = IMAGE_SHAPE
) -> None:
    """Write a network of images (B, 3, 224, 224), or of another shape behind B, with B free."""
    with _quiet():
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, *input_shape),),
            str(path),
            input_names=[INPUT_NAME],
            output_names=list(output_names),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
