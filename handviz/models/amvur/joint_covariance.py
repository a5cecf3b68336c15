"""How the errors of the joints hang together: a low-rank covariance beside their own variances, ours.

A bent finger that is hidden may lie deeper as a whole: its joints' errors are one error. The vertices' variances of the
paper's likelihood (eq. 3) hold none of that. Here every hand has a covariance F F' + D of its 63 keypoint coordinates,
F of a few columns and D diagonal, trained by the exact likelihood of the errors that no rotation, scaling and
translation of the whole hand explains. Gradients stop at its inputs, so that the mesh is the same with it and without.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal

from handviz.core.records import KEYPOINT_COUNT

COORDINATES = 3 * KEYPOINT_COUNT
START_LOG_VARIANCE = -1.0
"""ln cm² of each coordinate's own error before training: 6 mm."""
SMALLEST_CM2 = 1e-4


class LowRank(NamedTuple):
    """Covariances F F' + D of the joints' coordinates, cm², canonical axes."""

    factor: Tensor
    """(B, 63, R) F"""
    variance: Tensor
    """(B, 63) D"""

    def dense(self) -> Tensor:
        """Return the covariances (B, 63, 63)."""
        return self.factor @ self.factor.transpose(1, 2) + torch.diag_embed(self.variance)


class JointCovariance(nn.Module):
    """Tokens of the vertices (B, T, W), and of the joints (B, 21, J) where there are any -> LowRank.

    ``joints_from_tokens`` (21, T): the weights by which the tokens' average stands for a joint.
    """

    joints_from_tokens: Tensor

    def __init__(self, joints_from_tokens: Tensor, width: int, joint_width: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.register_buffer("joints_from_tokens", joints_from_tokens, persistent=False)
        self.embedding = nn.Parameter(torch.randn(1, KEYPOINT_COUNT, width) * 0.02)
        self.hidden = nn.Linear(width + joint_width, width)
        self.output = nn.Linear(width, 3 * (rank + 1))
        nn.init.normal_(self.output.weight, std=0.02)
        with torch.no_grad():
            self.output.bias.copy_(torch.randn(3 * (rank + 1)) * 0.05)

    def forward(self, tokens: Tensor, joints: Tensor | None) -> LowRank:
        of_joints = self.joints_from_tokens @ tokens.detach()
        if joints is not None:
            of_joints = torch.cat([of_joints, joints.detach()], dim=2)
        hidden = nn.functional.gelu(self.hidden(of_joints) + self.embedding)
        numbers = self.output(hidden).float().unflatten(2, (3, self.rank + 1)).flatten(1, 2)
        variance = torch.exp((numbers[..., -1] + START_LOG_VARIANCE).clamp(-9.0, 4.0))
        return LowRank(numbers[..., :-1], variance + SMALLEST_CM2)


def correlated_nll(errors: Tensor, covariance: LowRank) -> Tensor:
    """Return -ln N(errors; 0, F F' + D) of errors (B, 63), nats a coordinate (B,).

    By Woodbury's identity and the determinant lemma, in the time of R x R systems. What is not finite gives nan.
    """
    if not all(bool(torch.isfinite(part).all()) for part in (errors, *covariance)):
        return torch.full_like(errors[:, 0], torch.nan)
    normal = LowRankMultivariateNormal(torch.zeros_like(errors), covariance.factor, covariance.variance)
    return -normal.log_prob(errors) / errors.shape[1]


def shape_errors_cm(mine_cm: Tensor, true_cm: Tensor) -> Tensor:
    """Return truth less ``mine_cm`` (B, 21, 3) after the truth's best rotation, scale and translation onto it (B, 63).

    Without gradients. Points in one place have no best rotation: theirs is none, and no scale.
    """
    mine, true = (points.detach().double() for points in (mine_cm, true_cm))
    mine_centre, true_centre = mine.mean(dim=1, keepdim=True), true.mean(dim=1, keepdim=True)
    to, of = mine - mine_centre, true - true_centre
    # Of nan there is none; the result is nan all the same.
    left, values, right = torch.linalg.svd(torch.nan_to_num(of.transpose(1, 2) @ to))
    signs = torch.ones_like(values)
    signs[:, 2] = torch.sign(torch.linalg.det(left @ right))
    rotation = (left * signs[:, None]) @ right
    size = of.square().sum(dim=(1, 2)).clamp_min(1e-12)
    scale = ((values * signs).sum(dim=1) / size)[:, None, None]
    return (of @ rotation * scale - to).flatten(1).to(mine_cm.dtype)
