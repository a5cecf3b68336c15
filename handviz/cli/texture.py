"""``handviz texture``: train, evaluate and export the texture net."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np

from handviz.cli.evaluate import held_out_crops
from handviz.cli.export import report_export
from handviz.core.arguments import Count, HeldOutFolder, Only, Option, Positional
from handviz.core.files import make_folder
from handviz.core.output import print_result, print_text
from handviz.core.paths import EXPORTS, MODELS, TEXTURE_NAME
from handviz.data.synthetic.generator import GENERATOR_VERSION, GeneratorVersion
from handviz.evaluation.predictors import onnx_predictor
from handviz.evaluation.tables import Result, write_result
from handviz.evaluation.texture_scores import (
    Colours,
    Method,
    Score,
    Window,
    evaluate_methods,
    projective_sampling,
    scenes,
    table,
)
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.texture.training import TextureTrainConfig, export, train_texture
from handviz.pipeline.texture_fusion import Texturer


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train on rendered hands whose colours are known."""

    config: Annotated[
        TextureTrainConfig,
        Only(
            "data",
            "run",
            "model",
            "meshes",
            "backbone_from",
            "backbone_weights",
            "validation",
            "epochs",
            "batch_size",
            "rate",
            "checkpoint_every",
            "limit",
            "start_from",
            "seed",
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a checkpoint as ONNX and compare the two."""

    checkpoint: Positional[Path]
    """Folder of a checkpoint, such as runs/texture/last."""
    model_dir: Path = EXPORTS
    """Folder to write to."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """SSIM, PSNR and hidden colours on held-out crops."""

    model: Path = MODELS / TEXTURE_NAME
    """ONNX file."""
    held_out: HeldOutFolder = None
    generator: GeneratorVersion = GENERATOR_VERSION
    """Version of the generator of the held-out crops; those of version 2 lie in the open hand's space."""
    count: Count = 2000
    """Crops, of both held-out parts alike."""
    window: Window = "uniform"
    """Of SSIM: scikit-image's own 7 x 7, or the Gaussian of Wang et al. 2004, 11 x 11."""
    meshes: Annotated[Path | None, Option(metavar="FILE")] = None
    """ONNX model whose meshes are coloured; without it the true ones."""
    results: Annotated[Path | None, Option(metavar="DIR")] = None
    """Leave the figures there for 'handviz tables'."""


Arguments = Train | Export | Evaluate


def run(arguments: Arguments) -> int:
    """Run the chosen action."""
    if isinstance(arguments, Export):
        return _export(arguments)
    if isinstance(arguments, Evaluate):
        return evaluate(arguments)
    print_result("checkpoint: %s", train_texture(arguments.config, load_open_hand()))
    return 0


def _export(arguments: Export) -> int:
    report_export(export(arguments.checkpoint, load_open_hand(), arguments.model_dir))
    return 0


def evaluate(arguments: Evaluate, more: Mapping[str, Method] = MappingProxyType({})) -> int:
    """Print a row for the texture net, for projective sampling, and for every further method."""
    template = load_open_hand()
    texturer = Texturer(arguments.model, template)
    methods: dict[str, Method] = {
        "texture net": lambda images, points: Colours(*texturer.colours(images, points)[:2]),
        "projective sampling": projective_sampling,
        **more,
    }
    predict = onnx_predictor(arguments.meshes) if arguments.meshes else None
    with tempfile.TemporaryDirectory() as temporary:
        saved = arguments.held_out
        folder, version = saved or Path(temporary), arguments.generator
        crops = held_out_crops(folder, arguments.count, keep=saved is not None, version=version)
        found, fractions = evaluate_methods(scenes(crops, template, predict), methods, template, arguments.window)
    title = f"{len(fractions)} crops, meshes: {arguments.meshes or 'true'}, SSIM's window: {arguments.window}"
    print_text(f"{title}\n\n{table(found, fractions)}\n")
    if arguments.results is not None:
        _keep(found, arguments.results)
    return 0


def _keep(found: dict[str, list[Score]], folder: Path) -> None:
    """Return a result of each method for the paper's Table 6: means over all crops."""
    for name, scores in found.items():
        figures = {"ssim": [one.ssim for one in scores], "psnr_db": [one.psnr for one in scores]}
        recipe = name.replace(" ", "_").replace("-", "_")
        result = Result(
            path=folder / f"official_{recipe}.json",
            recipe=recipe,
            model=name,
            dataset="rendered",
            split="held_out",
            samples=len(scores),
            crops_seen=0,
            figures={figure: float(np.nanmean(values)) for figure, values in figures.items()},
        )
        make_folder(folder)
        print_result("wrote %s", write_result(result, {}))
