"""How the mesh follows when its keypoints are moved a little."""

import numpy as np

from handviz.core.records import FloatArray
from handviz.hand_models.template import HandTemplate

STIFFNESS = 1e-6
"""Of the whole against being moved at all: only makes the solution unique."""


def vertices_from_keypoint_moves(template: HandTemplate) -> FloatArray:
    """(V, 21) moves of keypoints -> the smoothest moves of all vertices that bring about just these.

    Smoothest: least squared second difference over the mesh (Botsch and Sorkine 2008, On Linear Variational Surface
    Deformation Methods), under the keypoint regressor's 21 equations. Right for moves that are small against a finger.
    """
    laplacian = np.zeros((template.vertex_count,) * 2)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        one, other = template.faces[:, start], template.faces[:, end]
        laplacian[one, other] = laplacian[other, one] = -1.0
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    # Every row by its own number of neighbours, or vertices with many would be stiffer.
    laplacian /= np.maximum(np.diag(laplacian), 1.0)[:, None]
    energy = laplacian.T @ laplacian + STIFFNESS * np.eye(template.vertex_count)
    regressor = template.keypoint_regressor.astype(np.float64)
    response = np.linalg.solve(energy, regressor.T)
    return response @ np.linalg.inv(regressor @ response)
