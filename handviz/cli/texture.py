"""``handviz texture``: train, evaluate and export the texture net."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from handviz.cli.evaluate import held_out_crops, onnx_predictor
from handviz.cli.export import write_checksums
from handviz.core.paths import EXPORTS, MODELS, TEXTURE_NAME
from handviz.evaluation.tables import Result, write_result
from handviz.evaluation.texture_scores import (
    WINDOWS,
    Colours,
    Method,
    Score,
    evaluate_methods,
    projective_sampling,
    scenes,
    table,
)
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.texture.export import export_texture
from handviz.pipeline.texture_fusion import Texturer
from handviz.training.checkpoint import read_metadata
from handviz.training.texture import TextureTrainConfig, load_texture_checkpoint, train_texture

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions with their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_train(actions.add_parser("train", help="train on rendered hands whose colours are known"))
    _add_export(actions.add_parser("export", help="write a checkpoint as ONNX and compare the two"))
    add_evaluate_arguments(actions.add_parser("evaluate", help="SSIM, PSNR and hidden colours on held-out crops"))


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen action."""
    actions = {"train": _train, "export": _export, "evaluate": evaluate}
    return actions[arguments.action](arguments)


def _add_train(parser: argparse.ArgumentParser) -> None:
    default = TextureTrainConfig((), Path())
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders written by 'handviz synthesize'")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; a started run is continued")
    parser.add_argument("--validation", type=Path, help="another rendered folder, watched while training")
    parser.add_argument("--epochs", type=int, default=default.epochs, help="passes over the samples")
    parser.add_argument("--batch-size", type=int, default=default.batch_size, help="crops in a batch, for each process")
    parser.add_argument("--rate", type=float, default=default.rate, help="learning rate")
    parser.add_argument("--checkpoint-every", type=int, default=default.checkpoint_every, help="steps")
    parser.add_argument("--limit", type=int, help="use only the first samples")
    parser.add_argument("--start-from", type=Path, help="checkpoint of a texture net to take weights from")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of all random numbers")


def _train(arguments: argparse.Namespace) -> int:
    config = TextureTrainConfig(
        data=tuple(arguments.data),
        run=arguments.run,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        rate=arguments.rate,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        validation=arguments.validation,
        start_from=arguments.start_from,
        limit=arguments.limit,
    )
    logger.info("checkpoint: %s", train_texture(config, load_open_hand()))
    return 0


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint, such as runs/texture/last")
    parser.add_argument("--model-dir", type=Path, default=EXPORTS, help="folder to write to (%(default)s)")


def _export(arguments: argparse.Namespace) -> int:
    template = load_open_hand()
    network, config, notes = load_texture_checkpoint(arguments.checkpoint, template)
    commit = read_metadata(arguments.checkpoint).get("commit", "unknown")
    entries = {
        "handviz.commit": commit,
        "handviz.samples_seen": str(notes.get("samples_seen", 0)),
        "handviz.tokens": f"{config.layers} layers x {config.width}",
    }
    path = arguments.model_dir / TEXTURE_NAME
    difference = export_texture(network, template, path, entries)
    write_checksums(arguments.model_dir)
    logger.info("%s: differs from PyTorch by at most %.2g of a colour", path, difference)
    return 0


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to evaluate, and on what."""
    parser.add_argument("--model", type=Path, default=MODELS / TEXTURE_NAME, help="ONNX file (%(default)s)")
    parser.add_argument("--held-out", type=Path, metavar="DIR", help="folder of the rendered held-out set")
    parser.add_argument("--count", type=int, default=2000, help="crops, of both held-out parts alike (%(default)s)")
    parser.add_argument(
        "--window",
        choices=WINDOWS,
        default="uniform",
        help="of SSIM: scikit-image's own 7 x 7, or the Gaussian of Wang et al. 2004, 11 x 11 (%(default)s)",
    )
    parser.add_argument(
        "--meshes", type=Path, metavar="FILE", help="ONNX variant whose meshes are coloured; without it the true ones"
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="leave the figures there for 'handviz tables'")


def evaluate(arguments: argparse.Namespace, more: Mapping[str, Method] = MappingProxyType({})) -> int:
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
        crops = held_out_crops(saved or Path(temporary), arguments.count, keep=saved is not None)
        found, fractions = evaluate_methods(scenes(crops, template, predict), methods, template, arguments.window)
    title = f"{len(fractions)} crops, meshes: {arguments.meshes or 'true'}, SSIM's window: {arguments.window}"
    sys.stdout.write(f"{title}\n\n{table(found, fractions)}\n")
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
        folder.mkdir(parents=True, exist_ok=True)
        logger.info("wrote %s", write_result(result, {}))
