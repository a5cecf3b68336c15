"""The networks of the AMVUR family: attention, AMVUR, its replacements in Table 5, prior-net and camera net."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handviz.core.gaussian import rotation_from_6d, six_d_from_rotation
from handviz.core.units import CENTIMETRES_PER_DECIMETRE, CENTIMETRES_PER_METRE
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.hand_models.template import POSE_SIZE, SHAPE_SIZE, HandTemplate
from handviz.models.amvur.joint_covariance import JointCovariance, LowRank
from handviz.models.attention import attention

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -9.0, 4.0
INDEX_WAVES = 8
"""Number of sines, and of cosines, that encode a token's index where it has no position on the mesh."""
CAMERA_SIZE = 9
NEAR_CM = 1.0
"""Distance in the rest pose within which a token takes the residual of a joint: about half a phalanx."""


# AMVUR: attention between joints and vertices gives every vertex a mean and a variance (paper, section 3.3). Tokens are
# [F; p]: the image's feature F beside a position p of the mesh. F is the same for every token, so a linear layer on [F;
# p] is W_F F + W_p p, and F is projected once. ``VertexAttention`` and ``DenseVertices`` are the baselines of the
# paper's Table 5.


@dataclass(frozen=True)
class TokenSettings:
    """How vertices and joints become tokens."""

    width: int
    heads: int
    coarse: bool
    """Attend over the template's coarse vertices and lift to all; otherwise every vertex is a token."""
    on_base: bool = False
    """Start from a base mesh, not from the rest pose."""
    by_index: bool = False
    """Tokens carry their index instead of a position on the mesh (experiments B and C)."""
    embedding: bool = False
    """Every token also has numbers of its own, which are learnt."""
    blocks: int = 1
    """Attention blocks; the first one is the paper's."""
    feed_forward: bool = False
    """Every block ends with a feed-forward layer."""
    residual_numbers: int = 0
    """How many numbers say how far a joint lies from where it is seen; 0: tokens do not know."""
    rank: int = 0
    """Of the covariance of the joints' errors; 0: there is none."""

    def __post_init__(self) -> None:
        assert not (self.on_base and self.by_index), "a base mesh tells tokens where they are"


class TokenLinear(nn.Module):
    """Linear layer on tokens [F; p], never built: feature (B, D), positions (B or 1, T, P) -> (B, T, width)."""

    def __init__(self, feature_size: int, position_size: int, width: int) -> None:
        super().__init__()
        self.of_feature = nn.Linear(feature_size, width)
        self.of_position = nn.Linear(position_size, width, bias=False)

    def forward(self, feature: Tensor, positions: Tensor) -> Tensor:
        return self.of_feature(feature)[:, None] + self.of_position(positions)


class FeedForward(nn.Module):
    """Tokens (B, T, W) plus an MLP of their normalised values, of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.layers(self.before(tokens))


class DecoderBlock(nn.Module):
    """A further block: vertices (B, T, W) attend to joints (B, 21, W), then to each other; residual, normalised first.

    ``crosses``: whether there are joints to attend to; ``feed_forward``: whether a feed-forward layer follows.
    """

    def __init__(self, width: int, heads: int, *, crosses: bool, feed_forward: bool) -> None:
        super().__init__()
        self.heads = heads
        self.before_self = nn.LayerNorm(width)
        self.self_query_key_value, self.after_self = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = FeedForward(width) if feed_forward else None
        self.cross_query: nn.Linear | None = None
        if crosses:
            self.before_cross, self.before_joints = nn.LayerNorm(width), nn.LayerNorm(width)
            self.cross_query, self.cross_key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
            self.after_cross = nn.Linear(width, width)

    def forward(self, tokens: Tensor, joints: Tensor | None) -> Tensor:
        if self.cross_query is not None and joints is not None:
            key, value = self.cross_key_value(self.before_joints(joints)).chunk(2, dim=2)
            query = self.cross_query(self.before_cross(tokens))
            tokens = tokens + self.after_cross(attention(query, key, value, self.heads))
        query, key, value = self.self_query_key_value(self.before_self(tokens)).chunk(3, dim=2)
        tokens = tokens + self.after_self(attention(query, key, value, self.heads))
        return tokens if self.feed_forward is None else self.feed_forward(tokens)


class SeenJoints(NamedTuple):
    """What the features say of each joint."""

    features: Tensor | None = None
    """(B, 21, W) a token a joint"""
    residuals: Tensor | None = None
    """(B, 21, R) how far the base mesh's joints lie from where they are seen (``JointResiduals``)"""


NOTHING_SEEN = SeenJoints()


class AmvurOutput(NamedTuple):
    """A Gaussian for every coordinate of every vertex."""

    mean_cm: Tensor
    """(B, V, 3) canonical."""
    log_variance: Tensor
    """(B, V, 3) of cm²."""
    joint_covariance: LowRank | None = None
    """Of the joints' errors; None without one."""


class VertexAttention(nn.Module):
    """Feature (B, D), optionally a base mesh (B, V, 3) in cm -> AmvurOutput, by self-attention of vertices alone.

    From coarse vertices mean and log-variance are lifted to all (not variance: averaging would shrink it). Without a
    base mesh the positions are those of the rest pose (the paper's form); with one, tokens also carry its positions
    and the mean is an offset from it.
    """

    rest_tokens: Tensor
    rest_keypoints: Tensor
    rest_cm: Tensor
    keypoint_regressor: Tensor
    token_ids: Tensor
    lift: Tensor | None
    crosses = False
    """Whether vertices attend to joints."""

    def __init__(
        self, feature_size: int, template: HandTemplate, settings: TokenSettings, joint_width: int = 0
    ) -> None:
        super().__init__()
        width, self.heads, self.on_base = settings.width, settings.heads, settings.on_base
        self.residual_numbers = settings.residual_numbers
        self._register_mesh(template, settings.coarse)
        if settings.by_index:
            self.rest_tokens, self.rest_keypoints = index_waves(self.rest_tokens), index_waves(self.rest_keypoints)
        self.position_size = self.rest_tokens.shape[2] * (2 if settings.on_base else 1)
        self.vertex_primary = TokenLinear(feature_size, self.position_size, width)
        self.before_self = nn.LayerNorm(width)
        self.self_query_key_value = nn.Linear(width, 3 * width)
        self.before_output = nn.LayerNorm(width)
        self.mean, self.log_variance = _output_layers(width, 3), _output_layers(width, 3)
        self.feed_forward = FeedForward(width) if settings.feed_forward else None
        self.more_blocks = nn.ModuleList(
            DecoderBlock(width, settings.heads, crosses=self.crosses, feed_forward=settings.feed_forward)
            for _ in range(settings.blocks - 1)
        )
        self.embedding = _embedding(self.rest_tokens.shape[1], width) if settings.embedding else None
        self.joint_covariance: JointCovariance | None = None
        if settings.rank:
            of_joints = self.keypoint_regressor if self.lift is None else self.keypoint_regressor @ self.lift
            # A seed gives the same mesh with it and without.
            with torch.random.fork_rng(devices=[]):
                self.joint_covariance = JointCovariance(of_joints, width, joint_width, settings.rank)

    def _register_mesh(self, template: HandTemplate, coarse: bool) -> None:
        vertices = _rest_cm(template)
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        ids = torch.tensor(template.coarse_ids) if coarse else torch.arange(len(vertices))
        self.register_buffer("rest_cm", vertices, persistent=False)
        self.register_buffer("rest_tokens", vertices[ids][None], persistent=False)
        self.register_buffer("rest_keypoints", (regressor @ vertices)[None], persistent=False)
        self.register_buffer("keypoint_regressor", regressor, persistent=False)
        self.register_buffer("token_ids", ids.long(), persistent=False)
        lift = torch.tensor(template.full_from_coarse, dtype=torch.float32) if coarse else None
        self.register_buffer("lift", lift, persistent=False)

    def base_joints_cm(self, base_cm: Tensor | None) -> Tensor:
        """Return the joints (B, 21, 3) of a base mesh (B, V, 3) in cm, of the rest pose (1, 21, 3) without one."""
        return self.keypoint_regressor @ (self.rest_cm[None] if base_cm is None else base_cm)

    def _positions(self, base_cm: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the positions of vertices (B or 1, T, P) and joints (B or 1, 21, P), in decimetres."""
        vertices, joints = self.rest_tokens, self.rest_keypoints
        if base_cm is not None:
            batch = base_cm.shape[0]
            joints_of_base = self.keypoint_regressor @ base_cm
            vertices = torch.cat([vertices.expand(batch, -1, -1), base_cm[:, self.token_ids]], dim=2)
            joints = torch.cat([joints.expand(batch, -1, -1), joints_of_base], dim=2)
        return vertices / CENTIMETRES_PER_DECIMETRE, joints / CENTIMETRES_PER_DECIMETRE

    def _tokens(
        self, feature: Tensor, vertices: Tensor, joints: Tensor, seen: SeenJoints
    ) -> tuple[Tensor, Tensor | None]:
        """Return the vertices' tokens (B, T, width) before self-attention, and what more blocks attend to."""
        return _with_embedding(self.vertex_primary(feature, vertices), self.embedding), None

    def forward(self, feature: Tensor, base_cm: Tensor | None = None, seen: SeenJoints = NOTHING_SEEN) -> AmvurOutput:
        tokens, joints = self._tokens(feature, *self._positions(base_cm), seen)
        query, key, value = self.self_query_key_value(self.before_self(tokens)).chunk(3, dim=2)
        tokens = tokens + attention(query, key, value, self.heads)
        tokens = tokens if self.feed_forward is None else self.feed_forward(tokens)
        for block in self.more_blocks:
            tokens = block(tokens, joints)
        tokens = self.before_output(tokens)
        offset = self._all_vertices(self.mean(tokens).float())
        log_variance = self._all_vertices(self.log_variance(tokens).float())
        start = self.rest_cm if base_cm is None else base_cm
        return AmvurOutput(
            start + self._pulled_cm(seen) + offset,
            log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE),
            None if self.joint_covariance is None else self.joint_covariance(tokens, seen.features),
        )

    def _pulled_cm(self, seen: SeenJoints) -> Tensor | float:
        """Return displacements (B, V, 3) of the vertices towards joints as they are seen; 0 where none are."""
        return 0.0

    def _all_vertices(self, values: Tensor) -> Tensor:
        """Lift values at the tokens (B, T, C) to all vertices (B, V, C)."""
        return values if self.lift is None else self.lift @ values


class Amvur(VertexAttention):
    """The paper's form: cross-attention from vertices to joints, then self-attention between vertices.

    With ``joint_width`` the joints' keys and values also come from their features (B, 21, joint_width), not from F and
    p alone, and with ``settings.residual_numbers`` from where they are seen; vertices then carry the residuals of the
    joints around them. The blocks after the first attend to the joints' values in it.
    """

    near_joints: Tensor | None
    follow: Tensor | None
    crosses = True

    def __init__(
        self, feature_size: int, template: HandTemplate, settings: TokenSettings, joint_width: int = 0
    ) -> None:
        super().__init__(feature_size, template, settings, joint_width)
        width = settings.width
        self.cross_query = TokenLinear(feature_size, self.position_size, width)
        self.cross_key = TokenLinear(feature_size, self.position_size, width)
        self.cross_value = TokenLinear(feature_size, self.position_size, width)
        self.of_joint = nn.Linear(joint_width, 2 * width, bias=False) if joint_width else None
        numbers = settings.residual_numbers
        self.of_residual = nn.Linear(numbers, 2 * width, bias=False) if numbers else None
        self.of_near_residuals = nn.Linear(numbers, width, bias=False) if numbers else None
        self.pull = _pull_layer(joint_width + numbers, numbers // 3 - 1) if numbers else None
        follow = torch.from_numpy(vertices_from_keypoint_displacements(template)).float() if numbers else None
        self.register_buffer("follow", follow, persistent=False)
        near = _nearness(self.rest_cm[self.token_ids], self.keypoint_regressor @ self.rest_cm) if numbers else None
        self.register_buffer("near_joints", near, persistent=False)
        count = self.rest_keypoints.shape[1]
        self.query_embedding, self.key_embedding, self.value_embedding = (
            _embedding(number, width) if settings.embedding else None
            for number in (self.rest_tokens.shape[1], count, count)
        )

    def _tokens(
        self, feature: Tensor, vertices: Tensor, joints: Tensor, seen: SeenJoints
    ) -> tuple[Tensor, Tensor | None]:
        key, value = self.cross_key(feature, joints), self.cross_value(feature, joints)
        if self.of_joint is not None:
            assert seen.features is not None
            more_key, more_value = self.of_joint(seen.features).chunk(2, dim=2)
            key, value = key + more_key, value + more_value
        own = self.vertex_primary(feature, vertices)
        if self.of_residual is not None and self.of_near_residuals is not None and self.near_joints is not None:
            assert seen.residuals is not None
            more_key, more_value = self.of_residual(seen.residuals).chunk(2, dim=2)
            key, value = key + more_key, value + more_value
            own = own + self.of_near_residuals(self.near_joints @ seen.residuals)
        key, value = _with_embedding(key, self.key_embedding), _with_embedding(value, self.value_embedding)
        query = _with_embedding(self.cross_query(feature, vertices), self.query_embedding)
        crossed = attention(query, key, value, self.heads)
        return _with_embedding(own, self.embedding) + crossed, value

    def _pulled_cm(self, seen: SeenJoints) -> Tensor | float:
        if self.pull is None or self.follow is None:
            return 0.0
        assert seen.residuals is not None
        known = seen.residuals if seen.features is None else torch.cat([seen.features, seen.residuals], dim=2)
        fractions = torch.sigmoid(self.pull(known).float())
        *residuals, _ = seen.residuals.split(3, dim=2)
        moved = sum(fractions[..., [number]] * residual for number, residual in enumerate(residuals))
        return self.follow @ (moved * CENTIMETRES_PER_DECIMETRE)


class DenseVertices(nn.Module):
    """Experiment A: fully connected layers from the feature (B, D) to every coordinate's Gaussian, no tokens."""

    rest_cm: Tensor
    on_base = False

    def __init__(self, feature_size: int, template: HandTemplate, *, width: int) -> None:
        super().__init__()
        self.register_buffer("rest_cm", _rest_cm(template), persistent=False)
        self.hidden = nn.Sequential(nn.Linear(feature_size, width), nn.GELU())
        numbers = self.rest_cm.numel()
        self.mean, self.log_variance = _output_layers(width, numbers), _output_layers(width, numbers)

    def forward(self, feature: Tensor, base_cm: Tensor | None = None, seen: SeenJoints = NOTHING_SEEN) -> AmvurOutput:
        assert base_cm is None
        hidden = self.hidden(feature)
        offset, log_variance = (
            layers(hidden).float().unflatten(1, self.rest_cm.shape) for layers in (self.mean, self.log_variance)
        )
        return AmvurOutput(self.rest_cm + offset, log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE))


def index_waves(tokens: Tensor) -> Tensor:
    """Return sines and cosines (1, T, 2 x INDEX_WAVES) of each token's index, for (1, T, any) (Vaswani et al. 2017).

    They are scaled to the size of positions in centimetres.
    """
    numbers = torch.arange(tokens.shape[1], dtype=torch.float32)
    angles = numbers[:, None] / 1000.0 ** torch.linspace(0, 1, INDEX_WAVES)
    return CENTIMETRES_PER_DECIMETRE * torch.cat([angles.sin(), angles.cos()], dim=1)[None]


def _nearness(tokens_cm: Tensor, joints_cm: Tensor) -> Tensor:
    """Return weights (T, 21) of the joints around each token, whose sums are 1."""
    return torch.softmax(-0.5 * (torch.cdist(tokens_cm, joints_cm) / NEAR_CM) ** 2, dim=1)


def _pull_layer(inputs: int, sources: int) -> nn.Linear:
    """Return the layer of the fractions by which joints are pulled towards each source, all small at first."""
    layer = nn.Linear(inputs, sources)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, -2.0)
    return layer


def _rest_cm(template: HandTemplate) -> Tensor:
    return torch.tensor(template.vertices_m, dtype=torch.float32) * CENTIMETRES_PER_METRE


def _embedding(count: int, width: int) -> nn.Parameter:
    """Return numbers (1, T, width) that a token has beside its position, small at first."""
    return nn.Parameter(torch.randn(1, count, width) * 0.02)


def _with_embedding(tokens: Tensor, embedding: Tensor | None) -> Tensor:
    return tokens if embedding is None else tokens + embedding


def _output_layers(width: int, numbers: int) -> nn.Sequential:
    """Return an MLP of one hidden layer whose initial outputs are near zero."""
    last = nn.Linear(width, numbers)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), last)


# The prior-net: a global feature becomes pose and shape, and the hand layer makes the mesh (paper, section 3.1).


class PriorOutput(NamedTuple):
    """The hand model's parameters and mesh."""

    pose: Tensor
    """(B, 45) axis-angle, radians."""
    shape: Tensor
    """(B, 10) standard deviations."""
    vertices_cm: Tensor
    """(B, V, 3) canonical, wrist joint at the origin."""


class PriorNet(nn.Module):
    """Feature (B, D) -> PriorOutput. Pose is regressed in the template's principal components."""

    pose_components: Tensor

    def __init__(self, feature_size: int, width: int, template: HandTemplate) -> None:
        super().__init__()
        self.layer = HandLayer(template)
        self.register_buffer(
            "pose_components", torch.tensor(template.pose_components, dtype=torch.float32), persistent=False
        )
        self.regress = nn.Sequential(
            nn.Linear(feature_size, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, POSE_SIZE + SHAPE_SIZE),
        )  # fmt: skip
        last = self.regress[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)

    def forward(self, feature: Tensor) -> PriorOutput:
        coefficients, shape = self.regress(feature).split([POSE_SIZE, SHAPE_SIZE], dim=1)
        pose = coefficients.float() @ self.pose_components
        vertices = self.layer(pose, shape.float()).vertices_m * CENTIMETRES_PER_METRE
        return PriorOutput(pose, shape, vertices)


# The camera net: how the canonical hand lies in the crop, as a Gaussian over [R in 6D, ln s, Tx, Ty]. The paper
# regresses axis-angle, which jumps at 180 degrees, exactly between palm and back; six numbers do not (Zhou et al.
# 2019). Of the scale the logarithm is regressed, so that it stays positive.


class CameraOutput(NamedTuple):
    """Weak perspective: crop = scale * (rotation @ point)_xy + translation, crop in [-1, 1]."""

    mean: Tensor
    """(B, 9) [R in 6D, ln of the scale per decimetre, Tx, Ty]."""
    log_variance: Tensor
    """(B, 9)."""
    rotation: Tensor
    """(B, 3, 3) crop_from_wrist."""
    scale: Tensor
    """(B,) crop half-sides per centimetre."""
    translation: Tensor
    """(B, 2)."""


def camera_vector(rotation: Tensor, scale_per_cm: Tensor, translation: Tensor) -> Tensor:
    """Return the vector (B, 9) that the net regresses for a true camera."""
    log_scale = torch.log(scale_per_cm * CENTIMETRES_PER_DECIMETRE)
    return torch.cat([six_d_from_rotation(rotation), log_scale[:, None], translation], dim=1)


class CameraNet(nn.Module):
    """Feature (B, D) -> CameraOutput."""

    def __init__(self, feature_size: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(feature_size, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.mean = nn.Linear(width, CAMERA_SIZE)
        self.log_variance = nn.Linear(width, CAMERA_SIZE)
        nn.init.normal_(self.mean.weight, std=0.01)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)
        with torch.no_grad():
            self.mean.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0, -0.4, 0, 0.4]))

    def forward(self, feature: Tensor) -> CameraOutput:
        hidden = self.hidden(feature)
        mean, log_variance = self.mean(hidden).float(), self.log_variance(hidden.detach()).float()
        return CameraOutput(
            mean=mean,
            log_variance=log_variance.clamp(-12.0, 4.0),
            rotation=rotation_from_6d(mean[:, :6]),
            scale=torch.exp(mean[:, 6]) / CENTIMETRES_PER_DECIMETRE,
            translation=mean[:, 7:],
        )
