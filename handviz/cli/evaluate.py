"""``handviz evaluate``: the model card, printed; calibration as tables and images."""

import itertools
import logging
import re
import tempfile
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from handviz.cli.evaluate_official import (
    NOTHING_FOR_DATASETS,
    DatasetArguments,
    Model,
    evaluation_figures,
    official_evaluations,
    official_report,
    refuse_without_dataset,
)
from handviz.core.arguments import AsJson, Count, HandModelFile, HeldOutFolder, Option, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_json, print_text
from handviz.core.records import UncertaintyKind
from handviz.data.datasets.registry import is_dataset_spec
from handviz.data.synthetic.dataset import Crops
from handviz.data.synthetic.generator import GENERATOR_VERSION, GeneratorVersion
from handviz.evaluation.calibration import Calibration, calibrate, calibration_table
from handviz.evaluation.card import (
    UNCERTAINTY_NOTES,
    Card,
    PartMeans,
    card,
    card_table,
    cell,
    uncertainty_of,
)
from handviz.evaluation.evaluate import checkpoint_predictor, collect, mediapipe_by_part
from handviz.evaluation.held_out import (
    freeze,
    held_out_file,
    label_warnings,
    read_held_out,
    render_held_out,
    render_held_out_moments,
)
from handviz.evaluation.plots import draw_reliability, draw_sparsification
from handviz.evaluation.predictors import onnx_predictor, spec_predictor
from handviz.evaluation.presence import PresenceFigures, PresenceScores, presence_table
from handviz.hand_models.choice import hand_model_or_named, named_in
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.base import ModelSpec
from handviz.models.registry import list_models, shipped_models
from handviz.training.checkpoint import FIRST_FAMILY, parsed_notes, read_metadata
from handviz.training.families import (
    Predictor,
    family_of_checkpoint,
    trainable_families,
    training_family,
)

CROPS = "crops"
FOR_RENDERED = ("calibration", "plots", "mediapipe", "freeze")
"""Options that do not apply to datasets."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Models, crops and further outputs."""

    models: Positional[tuple[Path, ...]] = ()
    """Models by their id, ONNX files, or checkpoint folders; without any: the models that handviz ships."""
    data: Annotated[Path | None, Option(group=CROPS)] = None
    """Folder of rendered crops, or a dataset as NAME/SPLIT:ROOT; without it the held-out set is rendered."""
    held_out: Annotated[HeldOutFolder, Option(group=CROPS)] = None
    generator: GeneratorVersion = GENERATOR_VERSION
    """Version of the generator of the held-out crops; those of version 2 lie in the open hand's space."""
    count: Count | None = None
    """Crops to evaluate; all without it, of both held-out parts of hands alike."""
    calibration: bool = False
    """Also print tables of calibration."""
    plots: Annotated[Path | None, Option(metavar="DIR")] = None
    """Also draw reliability and sparsification there."""
    mediapipe: bool = False
    """Also measure MediaPipe's own landmarks on these crops."""
    freeze: bool = False
    """Only write into the file of the held-out set the fingerprint of the hands of --held-out DIR."""
    hand_model: HandModelFile = None
    dataset: DatasetArguments = NOTHING_FOR_DATASETS
    as_json: AsJson = False


Chosen = Path | ModelSpec
"""A file or folder, or a model of the registry."""


def _chosen(word: Path) -> Chosen:
    """Return the model of the registry that a word names, unless there is a file or folder of that name."""
    named = None if word.exists() else next((spec for spec in list_models() if spec.id == str(word)), None)
    return named or word


def _title(path: Chosen, taken: Container[str]) -> str:
    """Return the model's, file's or folder's name, with what must be said of a checkpoint, such as "weak"."""
    if isinstance(path, ModelSpec):
        return path.id if path.id not in taken else path.label
    stem = path.stem.removeprefix("handviz_") if path.suffix == ".onnx" else _folder_title(path)
    return stem if stem not in taken else str(path)


def _folder_title(path: Path) -> str:
    remark = family_of_checkpoint(path).remark(parsed_notes(path, read_metadata(path)["notes"]))
    return f"{path} ({remark})" if remark else str(path)


def held_out_crops(
    directory: Path, count: int | None, *, keep: bool, version: int = GENERATOR_VERSION, no_hand: bool = False
) -> list[Crops]:
    """Render the frozen crops with a hand, or the first ``count`` of both parts alike, and warn if they differ here.

    ``no_hand``: those without a hand that belong to them instead.
    """
    held_out = read_held_out(held_out_file(version))
    wanted = held_out.count if count is None else count
    crops = render_held_out(held_out, directory, wanted, keep=keep, no_hand=no_hand)
    for message in label_warnings(held_out, crops, directory):
        logger.warning("%s", message)
    return crops


def _freeze(directory: Path, count: int | None, version: int) -> None:
    """Render the held-out crops with and without hands, warn of hands that change, and write their fingerprints."""
    for no_hand in (False, True):
        held_out_crops(directory, count, keep=True, version=version, no_hand=no_hand)
    path = held_out_file(version)
    held_out = read_held_out(path)
    # Their first shard alone has a fingerprint.
    for message in label_warnings(held_out, render_held_out_moments(held_out, directory, 1, keep=True), directory):
        logger.warning("%s", message)
    freeze(held_out, directory, path)


def _template(path: Path, arguments: Arguments) -> HandTemplate:
    """Return the hand model of a model file or checkpoint: the given one, or the one that it names."""
    named = named_in(path) if path.suffix == ".onnx" else read_metadata(path)["fingerprint"]
    return hand_model_or_named(arguments.hand_model, named)


def _model(path: Chosen, arguments: Arguments) -> tuple[Predictor, HandTemplate]:
    if isinstance(path, ModelSpec):
        predictor = spec_predictor(path, arguments.hand_model)
        return predictor, predictor.template
    template = _template(path, arguments)
    predict = onnx_predictor(path, template) if path.suffix == ".onnx" else checkpoint_predictor(path, template)
    return predict, template


def _inside(path: Chosen, template: HandTemplate) -> tuple[str, Predictor] | None:
    """Return title and predictions of the network inside a model that it is compared with; None without one."""
    if isinstance(path, ModelSpec):
        name, file = path.family, path.file
    else:
        # Files of other families name no variant of AMVUR.
        name, file = FIRST_FAMILY if path.suffix == ".onnx" else family_of_checkpoint(path).id, path
    family = training_family(name) if name in trainable_families() else None
    predict = None if family is None or family.inside is None else family.inside(file, template)
    return None if family is None or predict is None else (family.inside_title, predict)


def _image_name(title: str, taken: set[str]) -> str:
    """Return a title's letters and digits, numbered if an earlier title has the same, and reserve that name."""
    stem = re.sub(r"[^A-Za-z0-9]+", "_", title).strip("_")
    names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
    # Some file systems take capitals for small letters.
    name = next(name for name in names if name.lower() not in taken)
    taken.add(name.lower())
    return name


def _draw(name: str, rows: tuple[Calibration, ...], directory: Path) -> None:
    for kind, draw in (("reliability", draw_reliability), ("sparsification", draw_sparsification)):
        logger.info("wrote %s", draw(rows, directory / f"{kind}_{name}.png"))


@dataclass(frozen=True)
class CardReport:
    """What is printed of models on rendered crops; with ``--json`` under these names."""

    crops: int
    data: str
    models: dict[str, Card]
    calibration: dict[str, tuple[Calibration, ...]]
    """of each model, where it is requested"""
    mediapipe_pa_mpjpe_mm: PartMeans | None
    """of all, visible and heavily hidden hands, where it is requested"""
    uncertainty: dict[str, UncertaintyKind]
    """of each model: per vertex, constant, or none"""
    presence: dict[str, PresenceFigures]
    """of each model with a probability of its own, and of MediaPipe; empty without crops that show no hand"""

    def text(self) -> str:
        """Return Markdown tables."""
        tables = [f"{title}\n\n{calibration_table(rows)}\n" for title, rows in self.calibration.items() if rows]
        notes = [f"{title} {note}" for title, kind in self.uncertainty.items() if (note := UNCERTAINTY_NOTES[kind])]
        noted = "".join(f"\n{note}\n" for note in notes)
        text = "\n".join([f"{self.crops} crops of {self.data}\n\n{card_table(self.models)}\n{noted}", *tables])
        text += f"\n{presence_table(self.presence)}" if self.presence else ""
        return text + ("" if self.mediapipe_pa_mpjpe_mm is None else _mediapipe_text(self.mediapipe_pa_mpjpe_mm))


def _report(models: Sequence[Chosen], crops: list[Crops], scores: PresenceScores, arguments: Arguments) -> CardReport:
    """Return what is printed; write the figures."""
    cards: dict[str, Card] = {}
    names: set[str] = set()
    calibrations: dict[str, tuple[Calibration, ...]] = {}
    uncertainty: dict[str, UncertaintyKind] = {}
    count = 0
    for path in models:
        predict, template = _model(path, arguments)
        answers = collect(crops, predict, template)
        count, title = len(answers.std_m), _title(path, cards)
        cards[title], uncertainty[title] = card(answers), uncertainty_of(answers)
        scores.add(title, answers, predict, template)
        rows = calibrate(answers) if arguments.calibration or arguments.plots else ()
        if arguments.calibration:
            calibrations[title] = rows
        if arguments.plots and rows:
            _draw(_image_name(title, names), rows, arguments.plots)
        if (inside := _inside(path, template)) is not None:
            inner_title, inner_predict = f"{title}: {inside[0]}", inside[1]
            answers = collect(crops, inner_predict, template)
            cards[inner_title], uncertainty[inner_title] = card(answers), uncertainty_of(answers)
    mediapipe = mediapipe_by_part(crops, load_open_hand()) if arguments.mediapipe else None
    if scores.figures or arguments.mediapipe:
        scores.add_mediapipe(load_open_hand())
    data = str(arguments.data or "the held-out set")
    return CardReport(count, data, cards, calibrations, mediapipe, uncertainty, scores.figures)


def _mediapipe_text(parts: PartMeans) -> str:
    means = [cell("{:.2f}", value) for value in parts]
    return (
        f"\nMediaPipe's own world landmarks on the same crops: PA-MPJPE {means[0]} mm, "
        f"visible hands {means[1]} mm, heavily hidden {means[2]} mm\n"
    )


def _on_dataset(spec: Path, models: Sequence[Chosen], arguments: Arguments) -> None:
    """Print a dataset's own metrics."""
    for name in FOR_RENDERED:
        if getattr(arguments, name):
            raise HandvizError(
                f"--{name} is for rendered hands: leave it out with --data NAME/SPLIT:ROOT", ErrorCode.OPTION_CONFLICT
            )
    named: dict[str, Model] = {}
    for path in models:
        named[_title(path, named)] = partial(_model, path, arguments)
    found = official_evaluations(arguments.dataset, spec, arguments.count, named)
    if arguments.as_json:
        print_json({title: evaluation_figures(evaluation) for title, evaluation in found.items()})
    else:
        print_text(official_report(arguments.dataset, found))


def _scored_crops(arguments: Arguments, temporary: Path) -> PresenceScores:
    """Return the crops to evaluate on, the folder's or the held-out ones, rendered where they are missing."""
    if arguments.data is not None:
        crops = [Crops(arguments.data, arguments.count)]
        return PresenceScores(crops, lambda: crops)
    saved = arguments.held_out
    render = partial(
        held_out_crops, saved or temporary, arguments.count, keep=saved is not None, version=arguments.generator
    )
    return PresenceScores(render(), partial(render, no_hand=True))


def run(arguments: Arguments) -> int:
    """Print one table, a column a model and one for the prior-net inside ``final``, and whatever else was requested."""
    if arguments.freeze and arguments.held_out is None:
        raise HandvizError("--freeze needs --held-out DIR", ErrorCode.OPTION_CONFLICT)
    if arguments.freeze and arguments.held_out is not None:
        _freeze(arguments.held_out, arguments.count, arguments.generator)
        return 0
    models = tuple(map(_chosen, arguments.models)) or shipped_models()
    if arguments.data is not None and is_dataset_spec(arguments.data):
        _on_dataset(arguments.data, models, arguments)
        return 0
    refuse_without_dataset(arguments.dataset)
    with tempfile.TemporaryDirectory() as temporary:
        scores = _scored_crops(arguments, Path(temporary))
        found = _report(models, scores.crops, scores, arguments)
    if arguments.as_json:
        print_json(found)
    else:
        print_text(found.text())
    return 0
