"""Exports the texture net as an ONNX file and compares it with PyTorch."""

from pathlib import Path

import torch
from torch import Tensor, nn

from handviz.hand_models.template import HandTemplate
from handviz.models.onnx_file import (
    IMAGE_SHAPE,
    INPUT_NAME,
    add_metadata,
    largest_difference,
    rounded_to_half,
    store_as_half,
    write_checked,
    write_onnx,
)
from handviz.models.texture.network import TextureNet
from handviz.models.texture.paper_form import PaperTextureNet

OUTPUT_NAMES = ("vertex_rgb", "vertex_albedo", "vertex_visible")
MAX_DIFFERENCE = 1e-3
"""Of a colour or a probability; a step of eight bits is four times that."""


class ExportTexture(nn.Module):
    """Image (B, 3, 224, 224), points (B, V, 3), open (B, V) -> the outputs of ``OUTPUT_NAMES``, all in [0, 1]."""

    def __init__(self, network: TextureNet | PaperTextureNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, points: Tensor, is_open: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.network(image, points, is_open)
        return found.rgb.clamp(0.0, 1.0), found.even.clamp(0.0, 1.0), torch.sigmoid(found.seen_logit)


def export_texture(
    network: TextureNet | PaperTextureNet, template: HandTemplate, path: Path, entries: dict[str, str]
) -> float:
    """Write the file and return the largest difference from PyTorch; HandvizError if it is above 1e-3.

    ``entries`` go into the file's metadata. Weights are rounded to float16, in place, which halves the file.
    """
    exported = ExportTexture(rounded_to_half(network)).eval()
    count = template.vertex_count

    def write(part: Path) -> None:
        write_onnx(exported, part, OUTPUT_NAMES, {INPUT_NAME: IMAGE_SHAPE, "points": (count, 3), "is_open": (count,)})
        store_as_half(part)
        add_metadata(part, template, entries)

    generator = torch.Generator().manual_seed(0)
    image, points = torch.rand(3, *IMAGE_SHAPE, generator=generator), torch.rand(3, count, 3, generator=generator)
    inputs = {INPUT_NAME: image, "points": points * 2.2 - 1.1, "is_open": (points[..., 0] > 0.5).float()}
    arrays = {name: part.numpy() for name, part in inputs.items()}
    return write_checked(
        path, write, lambda part: largest_difference(exported, part, OUTPUT_NAMES, arrays), MAX_DIFFERENCE
    )
