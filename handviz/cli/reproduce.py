"""``handviz reproduce``: a row of the paper's tables, trained and tested, to the result that ``handviz tables`` prints.

On a downloaded dataset as the paper does it, or in a cheap form on rendered hands.
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import RUNS
from handviz.data.datasets.images import BadImages
from handviz.data.datasets.registry import DatasetSpec, open_dataset, parsed
from handviz.evaluation.card import card_table
from handviz.evaluation.evaluate import checkpoint_predictor
from handviz.evaluation.official import Evaluation, Options, evaluate
from handviz.evaluation.paper_tables import TABLES
from handviz.evaluation.recipes import Recipe, load_recipe, smoke
from handviz.evaluation.rendered import RenderedHands, evaluate_rendered, rendered_config
from handviz.evaluation.report import report
from handviz.evaluation.tables import RENDERED, Result, write_result
from handviz.hand_models.choice import add_hand_model_option, hand_model
from handviz.hand_models.template import HandTemplate
from handviz.training.amvur import train
from handviz.training.checkpoint import load_checkpoint
from handviz.training.config import TrainConfig
from handviz.training.distributed import DEVICES

logger = logging.getLogger(__name__)
SMOKE_TEST_SAMPLES = 4
OF_RENDERED = ("data", "test", "backbone_from", "epochs", "limit", "test_limit")
"""Options that belong to --rendered."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recipe and the options that no recipe contains."""
    parser.add_argument("recipe", help="its name ('handviz tables --recipes' lists them), or a .toml file of your own")
    parser.add_argument("--root", type=Path, help="folder of the download that it trains and tests on")
    parser.add_argument("--run", type=Path, help=f"folder of the run; a started run is continued ({RUNS / 'RECIPE'})")
    parser.add_argument("--camera-prior", type=Path, help="checkpoint whose camera net is the prior, weak training")
    parser.add_argument(
        "--backbone-weights", type=Path, metavar="FILE", help="torchvision's ImageNet weights to start from"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one")
    parser.add_argument("--bad-images", choices=get_args(BadImages), default="stop", help="stop, or leave them out")
    parser.add_argument("--smoke", action="store_true", help="twenty steps of two crops: whether all of it runs here")
    parser.add_argument("--no-training", action="store_true", help="only evaluate what the run has reached")
    add_hand_model_option(parser)
    _add_rendered(parser.add_argument_group("without a download, in a cheap form (docs/research/reproduction.md)"))


def _add_rendered(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rendered",
        action="store_true",
        help=f"train heads on a frozen backbone, on rendered hands ({RUNS / 'rendered'}/...)",
    )
    group.add_argument(
        "--data", type=Path, nargs="+", metavar="DIR", help="folders of 'handviz synthesize', to train on"
    )
    group.add_argument("--test", type=Path, metavar="DIR", help="another such folder, to test on")
    group.add_argument("--backbone-from", type=Path, metavar="CHECKPOINT", help="frozen backbone (MediaPipe's weights)")
    group.add_argument("--epochs", type=int, help=f"over the crops ({RenderedHands.epochs})")
    group.add_argument("--limit", type=int, help="train on the first crops only (all)")
    group.add_argument("--test-limit", type=int, help="test on the first crops only (all)")


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate on every split that the recipe's tables name, and save the results beside the run."""
    recipe, template = load_recipe(arguments.recipe), hand_model(arguments.hand_model)
    given = {name: getattr(arguments, name) for name in OF_RENDERED if getattr(arguments, name) is not None}
    if arguments.rendered:
        if arguments.root is not None or not {"data", "test"} <= given.keys():
            raise HandvizError(
                "--rendered trains on rendered hands: give --data DIR... and --test DIR, and no --root",
                ErrorCode.OPTION_CONFLICT,
            )
        _on_rendered_hands(recipe, RenderedHands(**given | {"data": tuple(arguments.data)}), template, arguments)
        return 0
    if arguments.root is None or given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in OF_RENDERED)
        raise HandvizError(
            f"give --root DIR, the download, or --rendered, to which {options} belong", ErrorCode.OPTION_CONFLICT
        )
    _on_dataset(recipe, template, arguments)
    return 0


def _on_rendered_hands(
    recipe: Recipe, hands: RenderedHands, template: HandTemplate, arguments: argparse.Namespace
) -> None:
    folder = arguments.run or RUNS / RENDERED / recipe.name
    config = rendered_config(recipe, hands, folder, template, camera_prior=arguments.camera_prior)
    config = _with_options(config, arguments)
    if not arguments.no_training:
        logger.info("checkpoint: %s", train(config, template))
    if arguments.smoke:
        hands = replace(hands, test_limit=SMOKE_TEST_SAMPLES)
    result, card = evaluate_rendered(config, hands, template)
    sys.stdout.write(f"{result.samples:,} rendered crops of {hands.test}\n\n{card_table({recipe.name: card})}\n")
    logger.info("wrote %s", result.path)


def _on_dataset(recipe: Recipe, template: HandTemplate, arguments: argparse.Namespace) -> None:
    if not recipe.dataset:
        raise HandvizError(
            f"recipe {recipe.name} does not say which dataset it trains on: add a line dataset = ...",
            ErrorCode.FILE_DAMAGED,
        )
    spec, folder = parsed(f"{recipe.dataset}:{arguments.root}"), arguments.run or RUNS / recipe.name
    config = _with_options(recipe.config((str(spec),), folder, camera_prior=arguments.camera_prior), arguments)
    if not arguments.no_training:
        logger.info("checkpoint: %s", train(config, template))
    for test in tests_of(recipe):
        found = _evaluated(config, parsed(f"{test}:{arguments.root}"), template, arguments.smoke)
        sys.stdout.write(report(found, "crops of the true keypoints"))
        logger.info("wrote %s", _keep(found, recipe, config, template))


def tests_of(recipe: Recipe) -> list[str]:
    """Return NAME/SPLIT of each table with this recipe, once; without any, its dataset's own evaluation."""
    named = [table.test for table in TABLES if any(row.recipe == recipe.name for row in table.rows)]
    return list(dict.fromkeys(named)) or [f"{recipe.dataset.partition('/')[0]}/evaluation"]


def _with_options(config: TrainConfig, arguments: argparse.Namespace) -> TrainConfig:
    config = replace(
        config,
        device=arguments.device,
        bad_images=arguments.bad_images,
        backbone_weights=arguments.backbone_weights,
    )
    return smoke(config) if arguments.smoke else config


def _evaluated(config: TrainConfig, spec: DatasetSpec, template: HandTemplate, is_smoke: bool) -> Evaluation:
    options = Options(SMOKE_TEST_SAMPLES if is_smoke else None, bad_images=config.bad_images)
    return evaluate(open_dataset(spec), checkpoint_predictor(config.run / "last", template), template, options)


def _keep(found: Evaluation, recipe: Recipe, config: TrainConfig, template: HandTemplate) -> Path:
    _, _, notes = load_checkpoint(config.run / "last", template)
    result = Result(
        path=config.run / f"official_{found.dataset}_{found.split}.json",
        recipe=recipe.name,
        model=str(config.run / "last"),
        dataset=found.dataset,
        split=found.split,
        samples=len(found.names),
        crops_seen=int(notes.get("samples_seen", 0)),
        figures={name: float(values.mean()) for name, values in found.scores.columns.items()},
    )
    return write_result(result, found.intervals)
