"""``handviz reproduce``: a row of the paper's tables from a download to the result that ``handviz tables`` prints."""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

from handviz.core.errors import HandvizError
from handviz.core.files import write_whole
from handviz.data.datasets.images import BadPictures
from handviz.data.datasets.registry import DatasetSpec, open_dataset, parsed
from handviz.evaluation.evaluate import checkpoint_predictor
from handviz.evaluation.official import Evaluation, Options, evaluate
from handviz.evaluation.paper_tables import TABLES
from handviz.evaluation.recipes import Recipe, load_recipe, smoke
from handviz.evaluation.report import report
from handviz.evaluation.tables import Result, as_json
from handviz.hand_models.choice import add_hand_model_option, hand_model
from handviz.hand_models.template import HandTemplate
from handviz.training.amvur import train
from handviz.training.checkpoint import load_checkpoint
from handviz.training.config import TrainConfig
from handviz.training.distributed import DEVICES

logger = logging.getLogger(__name__)
SMOKE_TEST_SAMPLES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recipe, and what no recipe can know."""
    parser.add_argument("recipe", help="its name ('handviz tables --recipes' lists them), or a .toml file of your own")
    parser.add_argument("--root", type=Path, required=True, help="folder of the download that it trains and tests on")
    parser.add_argument("--run", type=Path, help="folder of the run; a started run is continued (runs/RECIPE)")
    parser.add_argument("--camera-prior", type=Path, help="checkpoint whose camera net is the prior, weak training")
    parser.add_argument(
        "--backbone-weights", type=Path, metavar="FILE", help="torchvision's ImageNet weights to start from"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one")
    parser.add_argument("--bad-pictures", choices=get_args(BadPictures), default="stop", help="stop, or leave them out")
    parser.add_argument("--smoke", action="store_true", help="twenty steps of two crops: whether all of it runs here")
    parser.add_argument("--no-training", action="store_true", help="only evaluate what the run has reached")
    add_hand_model_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate on every split that the recipe's tables name, and leave the results beside the run."""
    recipe = load_recipe(arguments.recipe)
    if not recipe.dataset:
        raise HandvizError(f"recipe {recipe.name} does not say which dataset it trains on: add a line dataset = ...")
    spec, template = parsed(f"{recipe.dataset}:{arguments.root}"), hand_model(arguments.hand_model)
    config = _config(recipe, spec, arguments)
    if not arguments.no_training:
        logger.info("checkpoint: %s", train(config, template))
    for test in tests_of(recipe):
        found = _evaluated(config, parsed(f"{test}:{arguments.root}"), template, arguments.smoke)
        sys.stdout.write(report(found, "crops of the true keypoints"))
        logger.info("wrote %s", _keep(found, recipe, config, template))
    return 0


def tests_of(recipe: Recipe) -> list[str]:
    """NAME/SPLIT of the tables that the recipe is a row of, each once; its dataset's own evaluation without any."""
    named = [table.test for table in TABLES if any(row.recipe == recipe.name for row in table.rows)]
    return list(dict.fromkeys(named)) or [f"{recipe.dataset.partition('/')[0]}/evaluation"]


def _config(recipe: Recipe, spec: DatasetSpec, arguments: argparse.Namespace) -> TrainConfig:
    folder = arguments.run or Path("runs") / recipe.name
    config = recipe.config((str(spec),), folder, camera_prior=arguments.camera_prior)
    config = replace(
        config,
        device=arguments.device,
        bad_pictures=arguments.bad_pictures,
        backbone_weights=arguments.backbone_weights,
    )
    return smoke(config) if arguments.smoke else config


def _evaluated(config: TrainConfig, spec: DatasetSpec, template: HandTemplate, is_smoke: bool) -> Evaluation:
    options = Options(SMOKE_TEST_SAMPLES if is_smoke else None, bad_pictures=config.bad_pictures)
    return evaluate(open_dataset(spec), checkpoint_predictor(config.run / "last", template), template, options)


def _keep(found: Evaluation, recipe: Recipe, config: TrainConfig, template: HandTemplate) -> Path:
    _, _, notes = load_checkpoint(config.run / "last", template)
    path = config.run / f"official_{found.dataset}_{found.split}.json"
    result = Result(
        path=path,
        recipe=recipe.name,
        model=str(config.run / "last"),
        dataset=found.dataset,
        split=found.split,
        samples=len(found.names),
        crops_seen=int(notes.get("samples_seen", 0)),
        figures={name: float(values.mean()) for name, values in found.scores.columns.items()},
    )
    write_whole({path: as_json(result, found.intervals)})
    return path
