"""``handviz evaluate --data NAME/SPLIT:ROOT``: a dataset's own metrics, intervals, curves, CSV and submission."""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Detection, DetectorChoice, Frame
from handviz.data.datasets.annotated import AnnotatedHand, HandDataset
from handviz.data.datasets.images import BadImages
from handviz.data.datasets.registry import open_dataset
from handviz.detection.detectors import DetectorOption, make_detector
from handviz.evaluation.evaluate import Predictor
from handviz.evaluation.official import Evaluation, Options, evaluate
from handviz.evaluation.plots import check_ending
from handviz.evaluation.predictions import Finder, true_crop
from handviz.evaluation.report import draw_pck, report, write_csv
from handviz.evaluation.submissions import Submission
from handviz.hand_models.template import HandTemplate

SAME_HAND = 0.35
"""A detection farther than this from the annotated keypoints, in extents of the hand, is of something else."""
MAX_HANDS = 2
"""Best detections of an image among which the annotated hand is looked for."""
CROPS = {"truth": "crops of the true keypoints", "detector": "crops of the detector's keypoints"}
Model = Callable[[], tuple[Predictor, HandTemplate]]
"""Loads a predictor and the hand model that it speaks of."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DatasetArguments:
    """With --data NAME/SPLIT:ROOT, a dataset such as freihand/evaluation:FreiHAND."""

    csv: Annotated[Path | None, Option(metavar="FILE")] = None
    """Write every error of every sample."""
    pck: Annotated[Path | None, Option(metavar="FILE")] = None
    """Draw PCK curves (.png, .svg)."""
    submission: Annotated[Path | None, Option(metavar="FILE")] = None
    """Write the zip that the dataset's server takes."""
    bad_images: BadImages = "stop"
    """Stop at an image that cannot be read, or leave such images out and count them."""
    crops: Literal["truth", "detector"] = "truth"
    """Keypoints that crops are cut by."""
    detector: DetectorOption = "handviz"
    frame_rate: Annotated[float | None, Option(metavar="HZ")] = None
    """Of the frames, for accelerations in mm/s²."""


NOTHING_FOR_DATASETS = DatasetArguments()


def refuse_without_dataset(arguments: DatasetArguments) -> None:
    """Raise HandvizError if an option that applies to datasets only was given without one."""
    for name in ("csv", "pck", "submission", "frame_rate"):
        if getattr(arguments, name) is not None:
            option = name.replace("_", "-")
            raise HandvizError(
                f"--{option} is for datasets: give --data NAME/SPLIT:ROOT, as freihand/evaluation:DIR",
                ErrorCode.OPTION_CONFLICT,
            )
    if arguments.crops != "truth":
        raise HandvizError("--crops detector is for datasets: give --data NAME/SPLIT:ROOT", ErrorCode.OPTION_CONFLICT)
    _check_detector(arguments)


def _check_detector(arguments: DatasetArguments) -> None:
    if arguments.crops == "truth" and arguments.detector != DatasetArguments.detector:
        raise HandvizError(
            "--detector chooses what --crops detector uses: give both, or neither", ErrorCode.OPTION_CONFLICT
        )


def official_evaluations(
    arguments: DatasetArguments, spec: Path, count: int | None, models: dict[str, Model]
) -> dict[str, Evaluation]:
    """Return every model's evaluation by its title; write CSV, curves and submission."""
    _check_detector(arguments)
    _check_outputs(arguments, count, len(models))
    dataset = open_dataset(spec)
    found: dict[str, Evaluation] = {}
    with finder(arguments.crops, arguments.detector) as find:
        options = Options(count, find, bad_images=arguments.bad_images)
        for title, load in models.items():
            found[title] = _evaluated(dataset, load(), options, arguments.submission)
    if arguments.csv is not None:
        write_csv(next(iter(found.values())), arguments.csv)
        logger.info("wrote %s", arguments.csv)
    if arguments.pck is not None:
        logger.info("wrote %s", draw_pck(found, arguments.pck))
    return found


def official_report(arguments: DatasetArguments, found: dict[str, Evaluation]) -> str:
    """Return the printed text for every model by its title."""
    crops, rate_hz = CROPS[arguments.crops], arguments.frame_rate
    return "\n".join(f"{title}\n\n{report(one, crops, rate_hz)}" for title, one in found.items())


def evaluation_figures(evaluation: Evaluation) -> dict[str, object]:
    """Return the means of an evaluation, their 95 % intervals and what they are of, for ``--json``."""
    return {
        "dataset": evaluation.dataset,
        "split": evaluation.split,
        "hand_model": evaluation.hand_model,
        "samples": len(evaluation.names),
        "requested": evaluation.total,
        "means": {name: values.mean() for name, values in evaluation.scores.columns.items()},
        "intervals_95": evaluation.intervals,
        "uncertainty": evaluation.std,
        "warnings": evaluation.warnings,
    }


def _evaluated(
    dataset: HandDataset, model: tuple[Predictor, HandTemplate], options: Options, submission: Path | None
) -> Evaluation:
    predict, template = model
    if submission is None:
        return evaluate(dataset, predict, template, options)
    collected = Submission(dataset, template)
    found = evaluate(dataset, predict, template, replace(options, watch=collected.add))
    logger.info("%s", collected.write(submission))
    return found


def _check_outputs(arguments: DatasetArguments, count: int | None, models: int) -> None:
    """Raise HandvizError, before anything is computed, if an output cannot be written or does not apply to datasets."""
    for path in (arguments.csv, arguments.pck, arguments.submission):
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            raise HandvizError(
                f"{path} cannot be written: name a file in a folder that is there and may be written to",
                ErrorCode.NOT_WRITABLE,
            )
    if arguments.pck is not None:
        check_ending(arguments.pck)
    if arguments.frame_rate is not None and not 0 < arguments.frame_rate < math.inf:
        raise HandvizError("--frame-rate must be above 0", ErrorCode.BAD_VALUE)
    if models > 1 and (arguments.csv or arguments.submission):
        raise HandvizError("--csv and --submission are of one model: name it before --data", ErrorCode.OPTION_CONFLICT)
    if arguments.submission is not None and (count is not None or arguments.crops != "truth"):
        raise HandvizError(
            "a submission has every sample of the split: leave out --count and --crops detector",
            ErrorCode.OPTION_CONFLICT,
        )
    if arguments.submission is not None and arguments.bad_images == "skip":
        raise HandvizError(
            "a submission has every sample of the split: leave out --bad-images skip", ErrorCode.OPTION_CONFLICT
        )


@contextmanager
def finder(crops: str, detector: DetectorChoice = "handviz") -> Iterator[Finder]:
    """Yield the function that finds the keypoints to cut by; the detector receives the dataset's handedness."""
    if crops == "truth":
        yield true_crop
        return
    with closing(make_detector(detector, max_hands=MAX_HANDS, video=False)) as hands:

        def find(hand: AnnotatedHand, image: NDArray[np.uint8]) -> Detection | None:
            extent = float(np.ptp(hand.keypoints_px, axis=0).max())
            found = hands.detect(Frame(0, image, 0.0))[:MAX_HANDS]
            distances = [float(np.linalg.norm(one.keypoints_px - hand.keypoints_px, axis=1).mean()) for one in found]
            matching = [index for index, distance in enumerate(distances) if distance < SAME_HAND * extent]
            if not matching:
                return None
            best = found[min(matching, key=distances.__getitem__)]
            return replace(best, handedness=hand.handedness)

        yield find
