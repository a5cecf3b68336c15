"""Train forms of SiMA-Hand with several seeds on the same moments, and print how each differs from its whole.

The forms are the rows of the paper's tables 5 and 6, and readings of what it leaves open. Errors are those of every
view of the test's moments, the mean over the seeds; differences are paired by view, their intervals come from moments
drawn anew (bootstrap). Students have the teacher of seed 0. Every training lies in a folder of its own and resumes
there.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

import tools
from handviz.core import metrics
from handviz.core.arguments import Count, Fraction, Option, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder, write_arrays
from handviz.core.output import print_text
from handviz.core.records import FloatArray
from handviz.core.units import METRES_PER_CENTIMETRE, MILLIMETRES_PER_CENTIMETRE
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.sima_hand.losses import LossConfig
from handviz.models.sima_hand.model import ModelConfig, ModelOutput
from handviz.models.sima_hand.training import TRAINING, TrainConfig, load_source
from handviz.models.sima_hand.training_checkpoint import load_checkpoint
from handviz.models.truth import Truth
from handviz.training.dataset_samples import Drawing
from handviz.training.families import train_family
from handviz.training.moments import load_moments

MVR, SVR, SIMA = "MVR", "SVR", "SiMA"


class Form(NamedTuple):
    """One row of a table."""

    network: str
    model: Mapping[str, Any] = MappingProxyType({})
    """Changes of the network"""
    loss: Mapping[str, Any] = MappingProxyType({})
    """Changes of the loss"""
    teacher: str = ""
    """The form whose features are learned; empty: none"""
    whole: str = ""
    """The form that it is compared with; empty: MVR or SVR"""


def _student(teacher: str = MVR, **loss: Any) -> Form:
    return Form("svr", {}, loss, teacher)


FORMS: MappingProxyType[str, Form] = MappingProxyType(
    {
        MVR: Form("mvr"),
        "MVR, without image fusion": Form("mvr", {"image_fusion": "none"}),
        "MVR, image fusion as printed": Form("mvr", {"image_fusion": "concat"}),
        "MVR, without joint fusion": Form("mvr", {"joint_fusion": "none"}),
        "MVR, joint fusion by concatenation": Form("mvr", {"joint_fusion": "concat"}),
        "MVR, vertex fusion by concatenation": Form("mvr", {"vertex_fusion": "concat"}),
        "MVR, vertex fusion by pooling": Form("mvr", {"vertex_fusion": "pool"}),
        "MVR, vertex fusion as printed": Form("mvr", {"vertex_fusion": "printed"}),
        "MVR, without landmarks": Form("mvr", {"landmarks": False}),
        SVR: Form("svr"),
        "SVR, without enhancement": Form("svr", {"enhancement": "none"}),
        "SVR, enhancement by concatenation": Form("svr", {"enhancement": "concat"}),
        "SVR, without landmarks": Form("svr", {"landmarks": False}),
        SIMA: _student(),
        "SiMA, vertex fusion by concatenation": _student("MVR, vertex fusion by concatenation"),
        "SiMA, vertex fusion by pooling": _student("MVR, vertex fusion by pooling"),
        "SiMA, vertex fusion as printed": _student("MVR, vertex fusion as printed"),
        "SiMA, without landmarks": Form(
            "svr", {"landmarks": False}, teacher="MVR, without landmarks", whole="SVR, without landmarks"
        ),
        "SiMA of the last layer's vertices": _student(shape_place="last_vertex", orientation_place="none"),
        "SiMA of f_v": _student(orientation_place="none"),
        "SiMA of f_v and f_j": _student(orientation_place="joint"),
        "SiMA of f_v and f_o": _student(orientation_place="orientation"),
        "SiMA, weights 0.1": _student(shape_features=0.1, orientation_features=0.1),
        "SiMA, weights 10": _student(shape_features=10.0, orientation_features=10.0),
    }
)
"""By name; most multi-view ones are compared with MVR, all others with SVR."""
MEASURES = ("JPE", "PA-JPE", "VPE", "PA-VPE")
DRAWS, PERCENT = 1000, (2.5, 97.5)
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Moments, forms and length of the trainings."""

    data: Path
    """Folder of moments to train on."""
    test: Path
    """Folder of moments to test on."""
    out: Path
    """Folder of the trainings and their errors; what is finished is not trained again."""
    forms: Annotated[tuple[str, ...], Option(metavar="FORM ...", read=some_words, words="*")] = tuple(FORMS)
    """Names of forms; all unless some are given."""
    seeds: Count = 3
    """Trainings of every form, with the seeds 0, 1, ..."""
    limit: Count = 4_000
    """Moments to train on."""
    multi_epochs: Count = 10
    """Passes of multi-view networks over the moments."""
    single_epochs: Count = 4
    """Passes of single-view networks over the crops."""
    batch: Count = 64
    """Crops in a step."""
    hidden: Fraction = 0.6
    """Fraction of a hand that things hide, from which its view counts as hidden."""


def run(arguments: Arguments) -> int:
    """Train and test all forms; print the tables."""
    for name in arguments.forms:
        if name not in FORMS:
            raise HandvizError(f"there is no form {name!r}: choose of {', '.join(FORMS)}", ErrorCode.UNKNOWN_NAME)
    names = with_wholes(arguments.forms)
    trials = [(name, seed) for name in names for seed in range(arguments.seeds)]
    found = {(name, seed): trial_errors(name, seed, arguments) for name, seed in tqdm(trials, unit="training")}
    of_forms = {name: np.mean([found[name, seed] for seed in range(arguments.seeds)], axis=0) for name in names}
    moments = load_moments((arguments.test,), load_open_hand())
    views, fractions = moments.views, moments.hidden_share(torch.arange(len(moments))).flatten().numpy()
    parts = {"all views": np.ones(len(fractions), bool), "hidden views": fractions >= arguments.hidden}
    print_text("\n".join(line for title, rows in parts.items() for line in table(title, of_forms, rows, views)))
    return 0


def with_wholes(names: Sequence[str]) -> tuple[str, ...]:
    """Return the forms, those that they are compared with first."""
    wholes = [whole for name in names for whole in (whole_of(whole_of(name)), whole_of(name))]
    return tuple(dict.fromkeys([*wholes, *names]))


def whole_of(name: str) -> str:
    """Return the form that a form is compared with."""
    form = FORMS[name]
    return form.whole or (MVR if form.network == "mvr" else SVR)


def trial_errors(name: str, seed: int, arguments: Arguments) -> FloatArray:
    """Return the errors (4, N) of a form on the test's views, in the order of ``MEASURES``, mm."""
    folder = folder_of(name, seed, arguments)
    found, settings = folder / "errors.npz", settings_text(name, seed, arguments)
    if not found.is_file():
        write_arrays(found, {"errors": tested(trained(name, seed, arguments), arguments.test),
                             "settings": np.array(settings)})  # fmt: skip
    with np.load(found, allow_pickle=False) as file:
        if str(file["settings"]) != settings:
            raise HandvizError(f"{found} is of other settings: choose another --out", ErrorCode.FOLDER_TAKEN)
        return np.asarray(file["errors"])


def folder_of(name: str, seed: int, arguments: Arguments) -> Path:
    """Return the folder of a training."""
    return arguments.out / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"


def trained(name: str, seed: int, arguments: Arguments) -> Path:
    """Return the checkpoint of a form, trained to its end, and before it its teacher."""
    teacher = FORMS[name].teacher
    of_teacher = trained(teacher, 0, arguments) if teacher else None
    folder = make_folder(folder_of(name, seed, arguments))
    return train_family(TRAINING, config_of(name, seed, arguments, folder / "run", of_teacher), load_open_hand())


def settings_text(name: str, seed: int, arguments: Arguments) -> str:
    """Return what a trial's errors depend on, but for the code."""
    folders = [str(path.resolve()) for path in (arguments.data, arguments.test)]
    numbers = [arguments.limit, arguments.multi_epochs, arguments.single_epochs, arguments.batch]
    teacher = FORMS[name].teacher
    return repr([*folders, name, seed, _text(name), _text(teacher), *numbers])


def _text(name: str) -> str:
    return repr([dict(part) if isinstance(part, Mapping) else part for part in FORMS[name]]) if name else ""


def config_of(name: str, seed: int, arguments: Arguments, folder: Path, teacher: Path | None) -> TrainConfig:
    """Return the settings of one training."""
    form, views = FORMS[name], load_moments((arguments.data,), load_open_hand(), 1).views
    is_multi = form.network == "mvr"
    return TrainConfig(
        (arguments.data,),
        folder,
        ModelConfig(**{"network": form.network, "views": views, **form.model}),
        replace(LossConfig(), **form.loss),
        limit=arguments.limit,
        epochs=arguments.multi_epochs if is_multi else arguments.single_epochs,
        batch_size=max(arguments.batch // views, 1) if is_multi else arguments.batch,
        seed=seed,
        moments=True,
        teacher=teacher,
        checkpoint_every=None,
    )


@torch.no_grad()
def tested(checkpoint: Path, test: Path) -> FloatArray:
    """Return the errors (4, N) of a checkpoint on the views of a folder's moments, mm."""
    template = load_open_hand()
    model, found, _ = load_checkpoint(checkpoint, template)
    model.eval()
    config = TrainConfig((test,), checkpoint, found, moments=True)
    source = load_source(config, config.data, None, template, LandmarkNetwork(device="cpu"), Drawing())
    regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
    columns = []
    for ids in torch.arange(len(source)).split(max(BATCH // source.views, 1) if source.takes_moments else BATCH):
        inputs, truth = source.batch(ids)
        columns.append(errors_of(model(inputs), truth, regressor))
    return np.concatenate(columns, axis=1)


def errors_of(output: ModelOutput, truth: Truth, regressor: Tensor) -> FloatArray:
    """Return JPE, PA-JPE, VPE and PA-VPE (4, B) of a batch's crops, mm; the first and third are from the wrist."""
    mine = output.vertices_cm @ output.rotation.transpose(1, 2)
    true = truth.vertices_cm @ truth.rotation.transpose(1, 2)
    rows = []
    for aligned, points in (
        (metrics.pa_mpjpe_mm, [regressor @ mine, regressor @ true]),
        (metrics.pa_mpvpe_mm, [mine, true]),
    ):
        one, other = (part.double().numpy() for part in points)
        rows.append(np.linalg.norm(one - other, axis=2).mean(axis=1) * MILLIMETRES_PER_CENTIMETRE)
        rows.append(aligned(one * METRES_PER_CENTIMETRE, other * METRES_PER_CENTIMETRE))
    return np.stack(rows)


def table(title: str, of_forms: dict[str, FloatArray], rows: NDArray[np.bool_], views: int) -> Iterable[str]:
    """Yield the lines: of wholes their means, of every other form its differences with their 95 % intervals."""
    yield f"{title}: {rows.sum():,}; mm; differences from {MVR} or {SVR}, [95 % interval]"
    yield "| form | " + " | ".join(MEASURES) + " |"
    yield "|---" * (1 + len(MEASURES)) + "|"
    moments = (np.arange(len(rows)) // views)[rows]
    for name, errors in of_forms.items():
        whole = whole_of(name)
        if name == whole:
            cells = [f"{value:.2f}" for value in errors[:, rows].mean(axis=1)] if rows.any() else ["-"] * len(MEASURES)
        else:
            cells = [interval_text(row[rows], moments) for row in errors - of_forms[whole]]
        yield f"| {name} | " + " | ".join(cells) + " |"


def interval_text(differences: FloatArray, moments: NDArray[np.integer]) -> str:
    """Return the mean of paired differences (N,), and the interval of means of moments drawn anew.

    ``moments`` (N,) numbers the moment of each: views of one are not independent.
    """
    if not len(differences):
        return "-"
    _, of_row = np.unique(moments, return_inverse=True)
    sums, counts = np.bincount(of_row, differences), np.bincount(of_row)
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(sums), (DRAWS, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), PERCENT)
    return f"{differences.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    sys.exit(tools.run("sima_ablations"))
