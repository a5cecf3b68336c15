"""``handviz reproduce``: a row of the paper's tables, trained and tested, to the result that ``handviz tables`` prints.

On a downloaded dataset as the paper does it, or in a cheap form on rendered hands.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from handviz.core.arguments import HandModelFile, Option, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result, print_text
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
from handviz.hand_models.choice import hand_model
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.training import train
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_config import TrainConfig
from handviz.training.distributed import Device

SMOKE_TEST_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class RenderedArguments:
    """Without a download, in a cheap form (docs/research/reproduction.md)."""

    rendered: bool = False
    """Train heads on a frozen backbone, on rendered hands (rendered/... among the runs)."""
    data: Annotated[tuple[Path, ...] | None, Option(metavar="DIR ...")] = None
    """Folders of 'handviz synthesize', to train on."""
    test: Annotated[Path | None, Option(metavar="DIR")] = None
    """Another such folder, to test on."""
    end_to_end: bool = False
    """Train all of the recipe's network on the images instead of heads alone: hours on a CPU."""
    backbone_from: Annotated[Path | None, Option(metavar="CHECKPOINT")] = None
    """Frozen backbone; without it MediaPipe's weights."""
    epochs: int | None = None
    """Over the crops; without it 2."""
    limit: int | None = None
    """Train on the first crops only."""
    test_limit: int | None = None
    """Test on the first crops only."""

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, as ``RenderedHands`` takes them."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "rendered"}
        return {name: value for name, value in values.items() if value is not None and value is not False}


NOTHING_RENDERED = RenderedArguments()


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The recipe and the options that no recipe contains."""

    recipe: Positional[str]
    """Its name ('handviz tables --recipes' lists them), or a .toml file of your own."""
    root: Path | None = None
    """Folder of the download that it trains and tests on."""
    run: Path | None = None
    """Folder of the run; a started run is continued; without it RECIPE among the runs."""
    camera_prior: Path | None = None
    """Checkpoint whose camera net is the prior, or landmarks: MediaPipe's, without a net; weak training."""
    backbone_weights: Annotated[Path | None, Option(metavar="FILE")] = None
    """torchvision's ImageNet weights to start from."""
    device: Device = "auto"
    """auto: a GPU where there is one."""
    bad_images: BadImages = "stop"
    """Stop at an image that cannot be read, or leave such images out."""
    smoke: bool = False
    """Twenty steps of two crops: whether all of it runs here."""
    no_training: bool = False
    """Only evaluate what the run has reached."""
    hand_model: HandModelFile = None
    rendered_hands: RenderedArguments = NOTHING_RENDERED


def run(arguments: Arguments) -> int:
    """Train, evaluate on every split that the recipe's tables name, and save the results beside the run."""
    recipe, template = load_recipe(arguments.recipe), hand_model(arguments.hand_model)
    given = arguments.rendered_hands.given
    if arguments.rendered_hands.rendered:
        if arguments.root is not None or not {"data", "test"} <= given.keys():
            raise HandvizError(
                "--rendered trains on rendered hands: give --data DIR... and --test DIR, and no --root",
                ErrorCode.OPTION_CONFLICT,
            )
        _on_rendered_hands(recipe, RenderedHands(**given), template, arguments)
        return 0
    if arguments.root is None or given:
        names = [item.name.replace("_", "-") for item in fields(RenderedArguments) if item.name != "rendered"]
        options = ", ".join(f"--{name}" for name in names)
        raise HandvizError(
            f"give --root DIR, the download, or --rendered, to which {options} belong", ErrorCode.OPTION_CONFLICT
        )
    _on_dataset(recipe, template, arguments)
    return 0


def _on_rendered_hands(recipe: Recipe, hands: RenderedHands, template: HandTemplate, arguments: Arguments) -> None:
    folder = arguments.run or RUNS / RENDERED / (f"{recipe.name}_end_to_end" if hands.end_to_end else recipe.name)
    config = rendered_config(recipe, hands, folder, template, camera_prior=arguments.camera_prior)
    config = _with_options(config, arguments)
    if not arguments.no_training:
        print_result("checkpoint: %s", train(config, template))
    if arguments.smoke:
        hands = replace(hands, test_limit=SMOKE_TEST_SAMPLES)
    result, card = evaluate_rendered(config, hands, template)
    print_text(f"{result.samples:,} rendered crops of {hands.test}\n\n{card_table({recipe.name: card})}\n")
    print_result("wrote %s", result.path)


def _on_dataset(recipe: Recipe, template: HandTemplate, arguments: Arguments) -> None:
    if not recipe.dataset:
        raise HandvizError(
            f"recipe {recipe.name} does not say which dataset it trains on: add a line dataset = ...",
            ErrorCode.FILE_DAMAGED,
        )
    spec, folder = parsed(f"{recipe.dataset}:{arguments.root}"), arguments.run or RUNS / recipe.name
    config = _with_options(recipe.config((str(spec),), folder, camera_prior=arguments.camera_prior), arguments)
    if not arguments.no_training:
        print_result("checkpoint: %s", train(config, template))
    for test in tests_of(recipe):
        found = _evaluated(config, parsed(f"{test}:{arguments.root}"), template, arguments.smoke)
        print_text(report(found, "crops of the true keypoints"))
        print_result("wrote %s", _keep(found, recipe, config, template))


def tests_of(recipe: Recipe) -> list[str]:
    """Return NAME/SPLIT of each table with this recipe, once; without any, its dataset's own evaluation."""
    named = [table.test for table in TABLES if any(row.recipe == recipe.name for row in table.rows)]
    return list(dict.fromkeys(named)) or [f"{recipe.dataset.partition('/')[0]}/evaluation"]


def _with_options(config: TrainConfig, arguments: Arguments) -> TrainConfig:
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
