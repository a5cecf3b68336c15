"""Submissions to the servers of FreiHAND and HO3D: a zip of ``pred.json``, [[21 x 3 ..], [778 x 3 ..]], in metres.

As in lmb-freiburg/freihand (pred.py) and shreyashampali/ho3d (pred.py, README), one entry for each sample of the
evaluation split in its order. FreiHAND uses the camera frame as it is here (x right, y down, z forward) and our
keypoint order. HO3D uses OpenGL's axes (y up, z backward) and its own order: wrist, then three joints of index, middle,
little, ring, thumb, then the tips of thumb, index, middle, ring, little (vis_utils.py and vis_HO3D.py,
jointsMapManoToSimple). Both compare in the camera frame, so neither is relative to the root.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import open_atomic
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import HandDataset
from handviz.evaluation.definitions import WRIST
from handviz.evaluation.predictions import MANO, Prediction
from handviz.evaluation.protocols import protocol_of
from handviz.hand_models.template import HandTemplate

MEMBER, EVALUATION = "pred.json", "evaluation"
HO3D_ORDER = (0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20)
"""Our keypoint of each of HO3D's 21."""
OPENGL = np.array([1.0, -1.0, -1.0])
DECIMALS = 9
"""Of a metre."""
SERVED = ("freihand", "ho3d_v2", "ho3d_v3")


class Submission:
    """Writer of a whole split's predictions for its server."""

    def __init__(self, dataset: HandDataset, template: HandTemplate) -> None:
        """Check the split and hand model; HandvizError if the split has no server, or if the network's mesh is not
        MANO's."""
        if dataset.name not in SERVED or dataset.split != EVALUATION:
            raise HandvizError(
                f"there is no server for {dataset.name}/{dataset.split}: submissions are for "
                f"{', '.join(f'{name}/{EVALUATION}' for name in SERVED)}",
                ErrorCode.NOT_PROVIDED,
            )
        if template.name != MANO:
            raise HandvizError(
                f"a submission has MANO's vertices and this network has the {template.name} hand's: "
                "evaluate one that was trained with --hand-model MANO_RIGHT.pkl",
                ErrorCode.MODEL_MISMATCH,
            )
        self._dataset, self._keypoints, self._vertices = dataset, list[FloatArray](), list[FloatArray]()

    def add(self, found: Sequence[Prediction]) -> None:
        """Add the next samples of the split, in its order."""
        for one in found:
            keypoints, vertices = server_points(self._dataset.name, one)
            self._keypoints.append(keypoints)
            self._vertices.append(vertices)

    def write(self, path: Path) -> str:
        """Write the zip and return a message on its content; HandvizError if it cannot be written."""
        with (
            open_atomic(path) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(MEMBER, "w", force_zip64=True) as member,
        ):
            for text in _json([self._keypoints, self._vertices]):
                member.write(text.encode())
        expected, count = protocol_of(self._dataset.name).samples[EVALUATION], len(self._keypoints)
        message = f"wrote {path}: {count:,} samples"
        return message if count == expected else f"{message}; the server takes {expected:,} and will refuse it"


def server_points(dataset: str, one: Prediction) -> tuple[FloatArray, FloatArray]:
    """Return keypoints (21, 3) and vertices (778, 3) of a sample in the server's order and axes.

    HO3D publishes the wrist's true position, so its hands are moved there, as on its leaderboard.
    """
    if dataset == "freihand":
        return one.keypoints_m, one.vertices_m
    shift = 0.0 if one.hand.keypoints_m is None else one.hand.keypoints_m[WRIST] - one.keypoints_m[WRIST]
    return (one.keypoints_m + shift)[list(HO3D_ORDER)] * OPENGL, (one.vertices_m + shift) * OPENGL


def _json(lists: Sequence[Sequence[FloatArray]]) -> Iterator[str]:
    """Yield [[points, ..], [points, ..]] piece by piece: HO3D's text has over 500 MB."""
    yield "["
    for index, points in enumerate(lists):
        yield ", [" if index else "["
        for row, one in enumerate(points):
            yield (", " if row else "") + json.dumps(np.round(one, DECIMALS).tolist())
        yield "]"
    yield "]"
