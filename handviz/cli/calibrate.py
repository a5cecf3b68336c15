"""``handviz calibrate``: fit one factor to a checkpoint's variances on crops that it was not trained on.

With ``--pipeline`` no checkpoint is changed: the standard deviations that the program shows are compared with its
errors on rendered hands. ``--fit`` fits the error model of the posterior to such hands instead.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from handviz.core.arguments import AsJson, Count, HandModelFile, ModelFolder, Option, Positional, Seed
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import check_writable
from handviz.core.output import print_json, print_result, print_text
from handviz.core.paths import MODELS
from handviz.core.records import ModelId
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.calibration import fit_variance_scale
from handviz.evaluation.evaluate import collect
from handviz.evaluation.pipeline_calibration import (
    DEFAULT_SCENES,
    DEFAULT_SEED,
    DEFAULT_STREAM,
    STILLS,
    KindFigures,
    Plan,
    measure,
    report_text,
)
from handviz.evaluation.plots import draw_reliability, draw_sparsification
from handviz.evaluation.posterior_check import table
from handviz.evaluation.posterior_fit import FitPlan, fitted, found_hands, parted, photograph_factor
from handviz.hand_models.choice import hand_model_or_named
from handviz.models.registry import model_ids, model_spec, shipped_models
from handviz.pipeline.error_model import write_error_model
from handviz.pipeline.settings import PipelineConfig
from handviz.training.checkpoint import VARIANCE_SCALES, add_metadata, parsed_notes, read_metadata, variance_scales
from handviz.training.families import family_of_checkpoint

UNCERTAINTY = frozenset({"uncertainty", "constant_uncertainty"})
"""What models provide that have standard deviations, of each point or of the whole hand."""
DRAWN_KINDS = {STILLS: "stills", DEFAULT_STREAM: "streams"}
DRAWN_PARTS = ("all", "visible", "hidden")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Checkpoint and crops, or ``--pipeline``."""

    checkpoint: Positional[Path | None] = None
    """Folder of a checkpoint, such as runs/final/last."""
    data: Path | None = None
    """Rendered validation crops, never the held-out ones."""
    count: Count | None = None
    """Use only the first crops; with --pipeline: number of scenes, 240 unless it is given, with --fit 1400."""
    hand_model: HandModelFile = None
    pipeline: bool = False
    """Change no checkpoint, but measure on rendered scenes through the whole program whether the standard deviations
    hold.

    Seed 611, unless --seed gives another one.
    """
    fit: Annotated[Path | None, Option(metavar="FILE")] = None
    """With --pipeline: instead fit the posterior's error model to two thirds of the rendered hands that are found, test
    it on the others, and write it there, as assets/posterior.npz is."""
    models: Annotated[tuple[ModelId, ...], Option(metavar="MODEL ...", choices=model_ids, words="*")] = ()
    """With --pipeline: these models instead of all shipped ones that predict uncertainty; with --fit one, final without
    it."""
    seed: Seed | None = None
    """With --pipeline: seed of the scenes, 611 without it, with --fit 503."""
    plots: Annotated[Path | None, Option(metavar="DIR")] = None
    """With --pipeline: also draw reliability and sparsification there."""
    model_dir: ModelFolder = MODELS
    as_json: AsJson = False


def run(arguments: Arguments) -> int:
    """Fit the factors and store them in the checkpoint, from which ``export`` takes them; or measure the pipeline, or
    fit the errors of its posterior.
    """
    if arguments.pipeline:
        _refuse_checkpoint(arguments)
        return _run_pipeline(arguments) if arguments.fit is None else _run_error_fit(arguments, arguments.fit)
    given = {
        "--fit": arguments.fit is not None,
        "--models": bool(arguments.models),
        "--seed": arguments.seed is not None,
        "--plots": arguments.plots is not None,
        "--model-dir": arguments.model_dir != MODELS,
        "--json": arguments.as_json,
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise HandvizError(f"{name} is for --pipeline: give both, or neither", ErrorCode.OPTION_CONFLICT)
    if arguments.checkpoint is None or arguments.data is None:
        raise HandvizError(
            "a checkpoint's folder and --data CROPS are needed: give both, or --pipeline to measure the program",
            ErrorCode.OPTION_CONFLICT,
        )
    return _run_fit(arguments.checkpoint, arguments.data, arguments)


def _run_fit(checkpoint: Path, data: Path, arguments: Arguments) -> int:
    metadata = read_metadata(checkpoint)
    template = hand_model_or_named(arguments.hand_model, metadata["fingerprint"])
    family = family_of_checkpoint(checkpoint)
    if not family.is_calibrated:
        raise HandvizError(
            f"checkpoints of the family {family.id} hold no factors of variances: calibrate one of another family",
            ErrorCode.UNSUPPORTED_FORMAT,
        )
    # Fitted anew, not on top of an earlier fit.
    before = variance_scales(parsed_notes(checkpoint, metadata["notes"]))
    predict = family.predictor_of(checkpoint, template)
    answers = collect([Crops(data, arguments.count)], predict, template)
    factors = [factor * old for factor, old in zip(fit_variance_scale(answers), before, strict=True)]
    more = (
        {} if family.more_calibration is None else family.more_calibration(checkpoint, data, arguments.count, template)
    )
    add_metadata(checkpoint, dict(zip(VARIANCE_SCALES, factors, strict=True)) | more)
    print_result("variances x %.3f (vertices), x %.3f (keypoints), saved in %s", *factors, checkpoint)
    for name, value in more.items():
        print_result("%s: %s", name, value)
    return 0


def _refuse_checkpoint(arguments: Arguments) -> None:
    """Raise HandvizError if what only a checkpoint needs is given."""
    given = {
        "a checkpoint": arguments.checkpoint,
        "--data": arguments.data,
        "--hand-model": arguments.hand_model,
    }
    for name, value in given.items():
        if value is not None:
            raise HandvizError(
                f"--pipeline measures the models as the program runs them: leave out {name}", ErrorCode.OPTION_CONFLICT
            )


def _run_pipeline(arguments: Arguments) -> int:
    found = measure(
        Plan(
            _models(arguments.models),
            DEFAULT_SCENES if arguments.count is None else arguments.count,
            DEFAULT_SEED if arguments.seed is None else arguments.seed,
            PipelineConfig(arguments.model_dir, preload_others=False),
        )
    )
    if arguments.plots is not None:
        for model, kinds in found.items():
            _draw(model, kinds, arguments.plots)
    if arguments.as_json:
        print_json(found)
    else:
        print_text(report_text(found))
    return 0


def _run_error_fit(arguments: Arguments, out: Path) -> int:
    for name, is_given in (("--plots", arguments.plots is not None), ("--json", arguments.as_json)):
        if is_given:
            raise HandvizError(f"--fit prints its own table: leave out {name}", ErrorCode.OPTION_CONFLICT)
    plan = _fit_plan(arguments)
    check_writable(out)
    hands = found_hands(plan)
    first, rest = parted(hands, plan.count)
    errors = fitted(first)
    factor = photograph_factor(first)
    print_result("landmarks' errors, standard deviations on photographs against here: %.2f", factor)
    found = len(hands), plan.count, len(first), len(rest)
    print_result("%d of %d hands were found, %d fitted, %d tested", *found)
    for line in table(rest, errors):
        print_result("%s", line)
    write_error_model(out, errors)
    print_result("wrote %s", out)
    return 0


def _fit_plan(arguments: Arguments) -> FitPlan:
    models = _models(arguments.models or (FitPlan.model,))
    if len(models) > 1:
        raise HandvizError("--fit fits the errors of one model: name one with --models", ErrorCode.OPTION_CONFLICT)
    return FitPlan(
        models[0],
        FitPlan.count if arguments.count is None else arguments.count,
        FitPlan.seed if arguments.seed is None else arguments.seed,
        PipelineConfig(arguments.model_dir, preload_others=False),
    )


def _models(named: tuple[ModelId, ...]) -> tuple[ModelId, ...]:
    """Return the named models, or all shipped ones that predict uncertainty; HandvizError for one that cannot be."""
    for model in named:
        spec = model_spec(model)
        if not UNCERTAINTY & spec.provides:
            raise HandvizError(f"{model} predicts no uncertainty: choose another model", ErrorCode.NOT_PROVIDED)
        if spec.hand_model != "open_hand":
            raise HandvizError(
                f"{model} has another mesh than the rendered hands: choose another model", ErrorCode.MODEL_MISMATCH
            )
    return tuple(dict.fromkeys(named)) or tuple(spec.id for spec in shipped_models() if UNCERTAINTY & spec.provides)


def _draw(model: ModelId, kinds: tuple[KindFigures, ...], folder: Path) -> None:
    for kind in kinds:
        if kind.kind in DRAWN_KINDS:
            rows = [row for row in kind.rows if row.seen in DRAWN_PARTS]
            name = f"{model}_{DRAWN_KINDS[kind.kind]}.png"
            for title, draw in (("reliability", draw_reliability), ("sparsification", draw_sparsification)):
                logger.info("wrote %s", draw(rows, folder / f"{title}_{name}"))
