"""AMVUR: attention between joints and vertices gives every vertex a mean and a variance (paper, section 3.3).

Tokens are [F; p]: the image's feature F beside a position p of the mesh. F is the same for every token, so a linear
layer on [F; p] is W_F F + W_p p, and F is projected once.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handviz.hand_model.template import HandTemplate
from handviz.nets.attention import attention

LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE = -9.0, 4.0
CENTIMETRES_PER_METRE = 100.0
CENTIMETRES_PER_DECIMETRE = 10.0


class TokenLinear(nn.Module):
    """Linear layer on tokens [F; p], never built: feature (B, D), positions (B or 1, T, P) -> (B, T, width)."""

    def __init__(self, feature_size: int, position_size: int, width: int) -> None:
        super().__init__()
        self.of_feature = nn.Linear(feature_size, width)
        self.of_position = nn.Linear(position_size, width, bias=False)

    def forward(self, feature: Tensor, positions: Tensor) -> Tensor:
        return self.of_feature(feature)[:, None] + self.of_position(positions)


class AmvurOutput(NamedTuple):
    """A Gaussian for every coordinate of every vertex."""

    mean_cm: Tensor
    """(B, V, 3) canonical."""
    log_variance: Tensor
    """(B, V, 3) of cm²."""


class Amvur(nn.Module):
    """Feature (B, D), optionally a base mesh (B, V, 3) in cm -> AmvurOutput.

    ``coarse`` attends over the template's coarse vertices and lifts to all (mean and log-variance, not variance:
    averaging would shrink it); otherwise every vertex is a token. Without a base mesh the positions are those of the
    rest pose (the paper's form); with one, tokens also carry its positions and the mean is an offset from it. With
    ``joint_width`` the joints answer with what each of them has seen (B, 21, joint_width), not with F and p alone.
    """

    rest_tokens: Tensor
    rest_keypoints: Tensor
    rest_cm: Tensor
    keypoint_regressor: Tensor
    token_ids: Tensor
    lift: Tensor | None

    def __init__(
        self,
        feature_size: int,
        template: HandTemplate,
        *,
        width: int,
        heads: int,
        coarse: bool,
        on_base: bool,
        joint_width: int = 0,
    ) -> None:
        super().__init__()
        self.heads, self.on_base = heads, on_base
        self._keep_mesh(template, coarse)
        position_size = 6 if on_base else 3
        self.vertex_primary = TokenLinear(feature_size, position_size, width)
        self.cross_query = TokenLinear(feature_size, position_size, width)
        self.cross_key = TokenLinear(feature_size, position_size, width)
        self.cross_value = TokenLinear(feature_size, position_size, width)
        self.of_joint = nn.Linear(joint_width, 2 * width, bias=False) if joint_width else None
        self.before_self = nn.LayerNorm(width)
        self.self_query_key_value = nn.Linear(width, 3 * width)
        self.before_output = nn.LayerNorm(width)
        self.mean = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3))
        self.log_variance = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3))
        for last in (self.mean[-1], self.log_variance[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def _keep_mesh(self, template: HandTemplate, coarse: bool) -> None:
        vertices = torch.tensor(template.vertices_m, dtype=torch.float32) * CENTIMETRES_PER_METRE
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        ids = torch.tensor(template.coarse_ids) if coarse else torch.arange(len(vertices))
        self.register_buffer("rest_cm", vertices, persistent=False)
        self.register_buffer("rest_tokens", vertices[ids][None], persistent=False)
        self.register_buffer("rest_keypoints", (regressor @ vertices)[None], persistent=False)
        self.register_buffer("keypoint_regressor", regressor, persistent=False)
        self.register_buffer("token_ids", ids.long(), persistent=False)
        lift = torch.tensor(template.full_from_coarse, dtype=torch.float32) if coarse else None
        self.register_buffer("lift", lift, persistent=False)

    def _positions(self, base_cm: Tensor | None) -> tuple[Tensor, Tensor]:
        """Token positions of vertices (B or 1, T, P) and joints (B or 1, 21, P), in decimetres."""
        vertices, joints = self.rest_tokens, self.rest_keypoints
        if base_cm is not None:
            batch = base_cm.shape[0]
            joints_of_base = self.keypoint_regressor @ base_cm
            vertices = torch.cat([vertices.expand(batch, -1, -1), base_cm[:, self.token_ids]], dim=2)
            joints = torch.cat([joints.expand(batch, -1, -1), joints_of_base], dim=2)
        return vertices / CENTIMETRES_PER_DECIMETRE, joints / CENTIMETRES_PER_DECIMETRE

    def forward(self, feature: Tensor, base_cm: Tensor | None = None, joints_seen: Tensor | None = None) -> AmvurOutput:
        vertices, joints = self._positions(base_cm)
        key, value = self.cross_key(feature, joints), self.cross_value(feature, joints)
        if self.of_joint is not None:
            assert joints_seen is not None
            more_key, more_value = self.of_joint(joints_seen).chunk(2, dim=2)
            key, value = key + more_key, value + more_value
        crossed = attention(self.cross_query(feature, vertices), key, value, self.heads)
        tokens = self.vertex_primary(feature, vertices) + crossed
        query, key, value = self.self_query_key_value(self.before_self(tokens)).chunk(3, dim=2)
        tokens = self.before_output(tokens + attention(query, key, value, self.heads))
        offset = self._all_vertices(self.mean(tokens).float())
        log_variance = self._all_vertices(self.log_variance(tokens).float())
        start = self.rest_cm if base_cm is None else base_cm
        return AmvurOutput(start + offset, log_variance.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE))

    def _all_vertices(self, values: Tensor) -> Tensor:
        """Values at the tokens (B, T, C) -> at all vertices (B, V, C)."""
        return values if self.lift is None else self.lift @ values
