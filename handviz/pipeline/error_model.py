"""How far network and landmarks err: the error model that the posterior of a hand is computed with.

It is fitted on rendered hands through the whole pipeline (``handviz calibrate --pipeline --fit``); the program's own
lies in ``assets/posterior.npz``.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays, write_arrays
from handviz.core.paths import POSTERIOR_FILE
from handviz.core.records import KEYPOINT_COUNT, FloatArray

SIZE = 3 * KEYPOINT_COUNT
FIELDS = {
    "shape": (SIZE, SIZE),
    "world": (SIZE, SIZE),
    "image": (2 * KEYPOINT_COUNT, 2 * KEYPOINT_COUNT),
    "camera_std": (6,),
    "usual_std_m": (KEYPOINT_COUNT,),
    "of_shape": (KEYPOINT_COUNT,),
    "network_scale": (),
    "bone_std": (KEYPOINT_COUNT - 1,),
    "scale": (),
    "degrees": (),
    "own_fraction": (),
}


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Errors of network and landmarks, in the crop's axes, fitted on rendered hands.

    Covariances are of errors divided by ``keypoint_scales`` of the same hand.
    """

    shape: FloatArray
    """(63, 63) of the network's keypoints, the whole hand's motion taken away."""
    world: FloatArray
    """(63, 63) of the world landmarks, the same."""
    image: FloatArray
    """(42, 42) of the 2D landmarks."""
    camera_std: FloatArray
    """(6,) standard deviations of the network's rotation about the crop's axes, radians, its ln depth, and its shift,
    crop half-sides."""
    usual_std_m: FloatArray
    """(21,) ``keypoint_scales`` of hands of networks without standard deviations."""
    of_shape: FloatArray
    """(21,) ratios of a keypoint's standard deviations without and with the whole hand's motion, for networks that
    predict no covariance."""
    network_scale: float
    """Factor of a covariance that a network predicts."""
    bone_std: FloatArray
    """(20,) standard deviations of the network's lengths of the bones, as fractions of them, the hand's size taken
    away."""
    scale: float
    """Factor of all posterior variances."""
    degrees: float
    """Degrees of freedom of the factor that all errors of a hand share (multivariate t)."""
    own_fraction: float
    """Fraction of a vertex's own variance that its keypoints do not explain."""


@cache
def error_model() -> ErrorModel:
    """Return the error model of ``assets/``; HandvizError if the file is missing or damaged."""
    remedy = "fetch the file again, it belongs to the repository"
    arrays = read_arrays(POSTERIOR_FILE, remedy, FIELDS)
    for name, shape in FIELDS.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise HandvizError(f"{POSTERIOR_FILE} is damaged ({name}): {remedy}", ErrorCode.FILE_DAMAGED)
    parts = {name: arrays[name].astype(np.float64) for name in FIELDS}
    return ErrorModel(
        shape=parts["shape"],
        world=parts["world"],
        image=parts["image"],
        camera_std=parts["camera_std"],
        usual_std_m=parts["usual_std_m"],
        of_shape=parts["of_shape"],
        network_scale=float(parts["network_scale"]),
        bone_std=parts["bone_std"],
        scale=float(parts["scale"]),
        degrees=float(parts["degrees"]),
        own_fraction=float(parts["own_fraction"]),
    )


def write_error_model(path: Path, errors: ErrorModel) -> None:
    """Write the file of an error model, as ``assets/`` has one, whole or not at all; HandvizError if it cannot be."""
    write_arrays(path, {name: np.asarray(getattr(errors, name)) for name in FIELDS})
