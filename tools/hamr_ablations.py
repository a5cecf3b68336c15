"""Train forms of HAMR with several seeds on the same crops, and print how each differs from the whole.

A form leaves out one thing, or changes it. Every hand's error is the mean over the seeds; the difference from the whole
is paired by hand, and its interval comes from hands drawn anew (bootstrap). Every training lies in a folder of its own
and resumes there. Heatmaps are those of a checkpoint and stay as they are, so that all forms share what is computed of
the crops before the regressor.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import torch
from tqdm import tqdm

import tools
from handviz.core import metrics
from handviz.core.arguments import Count, Option, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder, write_arrays
from handviz.core.output import print_text
from handviz.core.records import FloatArray
from handviz.core.units import METRES_PER_CENTIMETRE
from handviz.data.synthetic.dataset import read_labels, shard_numbers
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.hamr.losses import LossConfig
from handviz.models.hamr.model import ModelConfig
from handviz.models.hamr.regressor import explained_variance
from handviz.models.hamr.training import TRAINING, TrainConfig
from handviz.models.hamr.training_checkpoint import predictor
from handviz.training.families import train_family
from handviz.training.samples import load_images

WHOLE = "whole"
COMPONENTS = 12
"""Of the pose, in the authors' code."""
FORMS: MappingProxyType[str, tuple[dict[str, Any], dict[str, Any]]] = MappingProxyType(
    {
        WHOLE: ({}, {}),
        "1 iteration": ({"iterations": 1}, {}),
        "2 iterations": ({"iterations": 2}, {}),
        "last iteration supervised": ({}, {"supervised_steps": "last"}),
        "without heatmaps": ({"heatmap_input": False}, {}),
        "without feedback": ({"feedback": False}, {}),
        "without feedback, 1 iteration": ({"feedback": False, "iterations": 1}, {}),
        "without landmarks": ({"landmarks": False}, {}),
        f"{COMPONENTS} components": ({"pose_numbers": COMPONENTS}, {}),
        "axis-angle": ({"rotation": "axis_angle"}, {}),
        "without 3D joints": ({}, {"joints_3d": 0.0}),
        "without 2D joints": ({}, {"joints_2d": 0.0}),
        "without camera": ({}, {"camera": 0.0}),
        "without geometry": ({}, {"geometry": 0.0}),
        "without prior": ({}, {"prior": 0.0}),
        "without vertices": ({}, {"vertices": 0.0}),
        "squared distances": ({}, {"distances": "squared", "joints_2d": 50.0}),
        "with silhouette": ({}, {"silhouette": 10.0}),
    }
)
"""Changes of network and loss."""
MEASURES = ("PA-MPJPE", "PA-MPVPE", "error in the crop, %")
DRAWS, PERCENT = 1000, (2.5, 97.5)
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Crops, forms and length of the trainings."""

    data: Path
    """Folder of rendered crops to train on."""
    test: Path
    """Folder of rendered crops to test on."""
    heatmaps: Path
    """Checkpoint of HAMR whose heatmaps are taken."""
    out: Path
    """Folder of the trainings and their errors; what is finished is not trained again."""
    forms: Annotated[tuple[str, ...], Option(metavar="FORM ...", read=some_words, words="*")] = tuple(FORMS)
    """Names of forms; all unless some are given."""
    seeds: Count = 3
    """Trainings of every form, with the seeds 0, 1, ..."""
    limit: Count = 12_800
    """Crops to train on."""
    epochs: Count = 1
    """Passes over the crops."""
    batch: Count = 64
    """Crops in a step."""


def run(arguments: Arguments) -> int:
    """Train and test all forms; print the table."""
    for name in arguments.forms:
        if name not in FORMS:
            raise HandvizError(f"there is no form {name!r}: choose of {', '.join(FORMS)}", ErrorCode.UNKNOWN_NAME)
    names = tuple(dict.fromkeys((WHOLE, *arguments.forms)))
    trials = [(name, seed) for name in names for seed in range(arguments.seeds)]
    errors = {(name, seed): trial_errors(name, seed, arguments) for name, seed in tqdm(trials, unit="training")}
    of_forms = {name: np.mean([errors[name, seed] for seed in range(arguments.seeds)], axis=0) for name in names}
    poses = np.concatenate([read_labels(arguments.test, shard)["pose"] for shard in shard_numbers(arguments.test)])
    explained = explained_variance(load_open_hand(), torch.from_numpy(poses), COMPONENTS)
    line = f"{COMPONENTS} components explain {explained:.1%} of the variance of the poses tested on"
    print_text("\n".join([*table(of_forms), line]))
    return 0


def trial_errors(name: str, seed: int, arguments: Arguments) -> FloatArray:
    """Return the errors (3, N) of a form on the test's hands, in the order of ``MEASURES``."""
    folder = arguments.out / f"{name.replace(' ', '_')}_{seed}"
    found, settings = folder / "errors.npz", settings_text(name, seed, arguments)
    if not found.is_file():
        make_folder(folder)
        config = config_of(name, seed, arguments, folder / "run")
        errors = tested(train_family(TRAINING, config, load_open_hand()), arguments.test)
        write_arrays(found, {"errors": errors, "settings": np.array(settings)})
    with np.load(found, allow_pickle=False) as file:
        if str(file["settings"]) != settings:
            raise HandvizError(f"{found} is of other settings: choose another --out", ErrorCode.FOLDER_TAKEN)
        return np.asarray(file["errors"])


def settings_text(name: str, seed: int, arguments: Arguments) -> str:
    """Return what a trial's errors depend on, but for the code."""
    folders = [str(path.resolve()) for path in (arguments.data, arguments.test, arguments.heatmaps)]
    return repr([*folders, name, seed, FORMS[name], arguments.limit, arguments.epochs, arguments.batch])


def config_of(name: str, seed: int, arguments: Arguments, folder: Path) -> TrainConfig:
    """Return the settings of one training."""
    of_model, of_loss = FORMS[name]
    config = TrainConfig((arguments.data,), folder, limit=arguments.limit, epochs=arguments.epochs, seed=seed)
    config = replace(config, batch_size=arguments.batch, start_from=(arguments.heatmaps,))
    config = replace(config, frozen_heatmaps=True, seen_folder=arguments.out / "seen")
    return replace(config, model=replace(ModelConfig(), **of_model), loss=replace(LossConfig(), **of_loss))


def tested(checkpoint: Path, test: Path) -> FloatArray:
    """Return the errors (3, N) of a checkpoint on the hands of a folder: mm, mm, and percent of the crop's side."""
    template = load_open_hand()
    predict, samples = predictor(checkpoint, template), load_images((test,), template)
    columns: list[list[FloatArray]] = [[], [], []]
    for ids in torch.arange(len(samples)).split(BATCH):
        images, truth = samples.batch(ids)
        hands = predict((images.permute(0, 2, 3, 1) * 255).round().byte().numpy())
        rows = np.flatnonzero(truth.is_hand.numpy())
        vertices_m = np.stack([hands[row].vertices_m for row in rows]).astype(np.float64)
        true_m = truth.vertices_cm[rows].double().numpy() * METRES_PER_CENTIMETRE
        mine, true = (template.keypoint_regressor @ part for part in (vertices_m, true_m))
        seen = np.stack([_in_crop(hands[row], points) for row, points in zip(rows, mine, strict=True)])
        columns[0].append(metrics.pa_mpjpe_mm(mine, true))
        columns[1].append(metrics.pa_mpvpe_mm(vertices_m, true_m))
        offsets = seen - truth.keypoints_crop[rows].numpy()
        columns[2].append(50 * np.linalg.norm(offsets, axis=2).mean(axis=1))
    return np.stack([np.concatenate(column) for column in columns])


def _in_crop(hand: Any, points_m: FloatArray) -> FloatArray:
    return np.asarray(hand.scale * (points_m @ hand.rotation.T)[:, :2] + hand.translation)


def table(of_forms: dict[str, FloatArray]) -> Iterable[str]:
    """Yield the lines: of the whole its means, of every other form its differences with their 95 % intervals."""
    whole = of_forms[WHOLE]
    yield f"{whole.shape[1]:,} hands; of the other forms the difference from the whole, [95 % interval]"
    yield "| form | " + " | ".join(MEASURES) + " |"
    yield "|---" * (1 + len(MEASURES)) + "|"
    yield _line(WHOLE, [f"{value:.2f}" for value in whole.mean(axis=1)])
    for name, errors in of_forms.items():
        if name != WHOLE:
            yield _line(name, [interval_text(row) for row in errors - whole])


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def interval_text(differences: FloatArray) -> str:
    """Return the mean of paired differences (N,), and the interval of means of hands drawn anew."""
    random = np.random.default_rng(0)
    drawn = differences[random.integers(0, len(differences), (DRAWS, len(differences)))].mean(axis=1)
    low, high = np.percentile(drawn, PERCENT)
    return f"{differences.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    sys.exit(tools.run("hamr_ablations"))
