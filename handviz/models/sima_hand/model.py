"""Builds SVR-Hand and MVR-Hand: ModelConfig holds every choice, ``SIZES`` the numbers of each form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.gaussian import rotation_from_6d, six_d_from_rotation
from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import CENTIMETRES_PER_DECIMETRE
from handviz.hand_models.mesh_levels import mesh_levels
from handviz.hand_models.template import HandTemplate
from handviz.models.landmark_numbers import LANDMARK_NUMBERS, WORLD_NUMBERS
from handviz.models.sima_hand.decoder import JointsInImage, Lifting, SpiralDecoder
from handviz.models.sima_hand.encoders import (
    DENSE_MIDDLE,
    DenseStack,
    ImageHourglass,
    OrientationEncoder,
    ShapeEncoder,
    ShapeFeatures,
)
from handviz.models.sima_hand.fusion import (
    ENHANCEMENTS,
    IMAGE_FUSIONS,
    JOINT_FUSIONS,
    VERTEX_FUSIONS,
    Enhancement,
    ImageFusion,
    JointFusion,
    VertexFusion,
)

NETWORKS, FORMS = ("svr", "mvr"), ("small", "paper")
MAX_VIEWS = 32
JOINT_NUMBERS = 6
"""Of MediaPipe's landmarks of a joint: screen, and world in the palm's frame."""
WRIST, INDEX, MIDDLE, LITTLE = 0, 5, 9, 17
"""Keypoints that span the palm."""
HEAD_WIDTH = 32
SCALES = (0.3, 3.0)
"""Of the least squares' camera, half-sides a decimetre: a wrong rotation makes it anything, and a crop shows a hand."""
LEAST_SPREAD = 1e-4


class FormSizes(NamedTuple):
    """The numbers of a form."""

    image: int
    """Channels of f_i"""
    joint: int
    """Channels of f_j"""
    orientation: int
    """Channels of f_o"""
    side: int
    """Of f_j and f_o"""
    fine: int
    """Channels of the map of which the 2D joints are read"""
    fine_side: int
    lifted: int
    """Width of f_v"""
    decoder: tuple[int, ...]
    """Channels of the decoder's levels"""
    attention: tuple[int, int]
    """Inner width and heads of the enhancement"""
    fusions: tuple[int, int]
    """Widths within the image- and joint-level fusion"""
    regressor: tuple[int, int]
    """Channels before and width after flattening, of the rotation"""


SIZES = {
    "small": FormSizes(112, 192, 256, 7, 112, 14, 256, (128, 64, 32, 32), (64, 4), (64, 64), (12, 96)),
    "paper": FormSizes(
        128, DENSE_MIDDLE, DENSE_MIDDLE, 4, 24, 16, 256, (256, 128, 64, 32), (4096, 8), (128, DENSE_MIDDLE), (256, 2048)
    ),
}


@dataclass(frozen=True)
class ModelConfig:
    """The configuration that a checkpoint is rebuilt from."""

    network: Annotated[str, Option(choices=NETWORKS)] = "svr"
    """"svr": one crop, one hand; "mvr": several views of a hand, its mesh once and its rotation in each."""
    form: Annotated[str, Option(choices=FORMS)] = "small"
    """"small": on MediaPipe's frozen middle map; "paper": the original's, on the image."""
    landmarks: bool = True
    """Whether MediaPipe's landmarks are read: 2D joints and rotation start there (ours; form "small" alone)."""
    image_fusion: Annotated[str, Option(choices=IMAGE_FUSIONS)] = "shared"
    """Eq. 1: "concat" as printed, for a fixed number of views; "shared": for any number; "none"."""
    joint_fusion: Annotated[str, Option(choices=JOINT_FUSIONS)] = "statistics"
    """Eq. 2: "statistics", or instead "concat" for a fixed number of views; "none"."""
    vertex_fusion: Annotated[str, Option(choices=VERTEX_FUSIONS)] = "attention"
    """Eq. 3: "printed", or "attention" averaged over views; instead "pool", or "concat" for a fixed number of views."""
    enhancement: Annotated[str, Option(choices=ENHANCEMENTS)] = "attention"
    """Eq. 5: "attention"; instead "concat" of f_j and f_o, or "none"."""
    views: int = 8
    """Views of a hand, where a fusion concatenates them."""
    dropout: float = 0.1
    """Within the enhancement."""

    def __post_init__(self) -> None:
        known = {
            "network": NETWORKS, "form": FORMS, "image_fusion": IMAGE_FUSIONS, "joint_fusion": JOINT_FUSIONS,
            "vertex_fusion": VERTEX_FUSIONS, "enhancement": ENHANCEMENTS,
        }  # fmt: skip
        for name, names in known.items():
            if getattr(self, name) not in names:
                raise HandvizError(
                    f"model: {name} is {getattr(self, name)!r}; there are {', '.join(names)}", ErrorCode.UNKNOWN_NAME
                )
        if not 1 <= self.views <= MAX_VIEWS:
            raise HandvizError(
                f"model: views is {self.views}, it must lie between 1 and {MAX_VIEWS}", ErrorCode.BAD_VALUE
            )
        if not 0 <= self.dropout < 1:
            raise HandvizError(f"model: dropout is {self.dropout}, it must lie in [0, 1)", ErrorCode.BAD_VALUE)
        if self.form == "paper" and self.landmarks:
            raise HandvizError(
                "model: the paper's form has no landmarks of MediaPipe to read: give --no-landmarks",
                ErrorCode.OPTION_CONFLICT,
            )
        if self.network == "mvr" and self.enhancement == "none" and self.joint_fusion != "none":
            raise HandvizError(
                "model: without the enhancement nothing reads what the views' joints say: give --joint-fusion none",
                ErrorCode.OPTION_CONFLICT,
            )

    @property
    def fixed_views(self) -> int | None:
        """The only number of views that the network takes; None: any."""
        fusions = (self.image_fusion, self.joint_fusion, self.vertex_fusion)
        return self.views if self.network == "mvr" and "concat" in fusions else None


def config_from_saved(saved: Mapping[str, Any]) -> ModelConfig:
    """Return the config that a checkpoint holds; TypeError for unknown fields."""
    return ModelConfig(**saved)


class Inputs(NamedTuple):
    """What the networks take of crops: (B, ...) for one view, (B, N, ...) for N views of a hand."""

    middle_map: Tensor | None
    """(B, 112, 14, 14), of MediaPipe's landmark network"""
    landmarks: Tensor | None
    """(B, 128) as ``models.landmark_numbers``"""
    image: Tensor | None = None
    """(B, 3, S, S) in [0, 1], for the paper's form alone"""


class Features(NamedTuple):
    """Features of the paper, which the single-view network learns from the multi-view one (eqs. 4, 6; table 6)."""

    vertex: Tensor
    """(B, 49, 256) f_v, of N views the fused one"""
    last_vertex: Tensor
    """(B, V, 32) of the decoder's last layer"""
    joint: Tensor
    """(B N, C, S, S) f_j, with what the joint-level fusion adds"""
    orientation: Tensor
    """(B N, C, S, S) f_o"""
    enhanced: Tensor
    """(B N, S S, C) enhanced f_o"""


class ModelOutput(NamedTuple):
    """What the networks say of B N crops; the N rows of a hand follow each other, and have one mesh."""

    vertices_cm: Tensor
    """(B N, V, 3) canonical, wrist joint at the origin"""
    rotation: Tensor
    """(B N, 3, 3) crop_from_wrist"""
    log_scale: Tensor
    """(B N,) ln of crop half-sides a decimetre"""
    translation: Tensor
    """(B N, 2) the wrist in the crop, half-sides"""
    joints_crop: Tensor
    """(B N, 21, 2) J2D, crop half-sides"""
    hand_logit: Tensor
    """(B N,) of the probability that the crop shows a hand"""
    features: Features

    @property
    def scale_per_cm(self) -> Tensor:
        """(B N,) crop half-sides a centimetre."""
        return torch.exp(self.log_scale) / CENTIMETRES_PER_DECIMETRE


class PaperShapeEncoder(nn.Module):
    """f_i (B, 128, 32, 32) -> f_j (B, 1024, 4, 4), the paper's form."""

    def __init__(self, sizes: FormSizes) -> None:
        super().__init__()
        self.stack = DenseStack(sizes.image, sizes.fine)

    def forward(self, image_features: Tensor) -> ShapeFeatures:
        return self.stack(image_features)


class PaperOrientationEncoder(nn.Module):
    """f_i (B, 128, 32, 32) -> f_o (B, 1024, 4, 4), the paper's form."""

    def __init__(self, sizes: FormSizes) -> None:
        super().__init__()
        self.blocks = DenseStack(sizes.image, sizes.fine).blocks

    def forward(self, image_features: Tensor) -> Tensor:
        for block in self.blocks:
            image_features = nn.functional.max_pool2d(block(image_features), 2)
        return image_features


class RotationRegressor(nn.Module):
    """Enhanced f_o (B, T, C), and MediaPipe's landmarks -> rotation (B, 3, 3), by six numbers.

    With landmarks they are added to those of the palm's rotation, which is read too: where the landmarks have the palm
    upside down, the layers can take it back.
    """

    identity: Tensor

    def __init__(self, sizes: FormSizes, numbers: int) -> None:
        super().__init__()
        narrow, width = sizes.regressor
        numbers += 6 if numbers else 0
        self.narrow = nn.Linear(sizes.orientation, narrow)
        last = nn.Linear(HEAD_WIDTH, 6)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(narrow * sizes.side**2 + numbers, width), nn.ReLU(), nn.Linear(width, HEAD_WIDTH), nn.ReLU(), last
        )
        self.register_buffer("identity", torch.tensor([1.0, 0, 0, 0, 1, 0]), persistent=False)

    def forward(self, enhanced: Tensor, numbers: list[Tensor], start: Tensor | None) -> Tensor:
        of_palm = self.identity[None] if start is None else six_d_from_rotation(start)
        known = numbers if start is None else [*numbers, of_palm]
        vector = torch.cat([torch.relu(self.narrow(enhanced)).flatten(1), *known], dim=1)
        return rotation_from_6d(of_palm + self.layers(vector).float())


class CameraHead(nn.Module):
    """Scale and translation in the crop: of least squares, and what a small network adds (open in the paper: ours)."""

    def __init__(self, joint: int, numbers: int) -> None:
        super().__init__()
        last = nn.Linear(HEAD_WIDTH, 3)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        size = joint + 2 * KEYPOINT_COUNT + 9 + 3 + numbers
        self.layers = nn.Sequential(nn.Linear(size, HEAD_WIDTH), nn.ReLU(), last)

    def forward(
        self, joint: Tensor, joints_crop: Tensor, turned_dm: Tensor, rotation: Tensor, numbers: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return ln of the scale (B,), half-sides a decimetre, and the wrist's place (B, 2).

        Of f_j (B, C, S, S), J2D (B, 21, 2), turned joints (B, 21, 3) in decimetres and rotation (B, 3, 3).
        """
        scale, translation = least_squares_camera(turned_dm, joints_crop)
        log_scale = torch.log(scale)
        known = [joints_crop.flatten(1), rotation.flatten(1), log_scale[:, None], translation]
        change = self.layers(torch.cat([joint.mean((2, 3)), *known, *numbers], dim=1)).float()
        return log_scale + change[:, 0], translation + change[:, 1:]


def least_squares_camera(turned: Tensor, joints_crop: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale (B,) and translation (B, 2) that best map points (B, 21, 3), seen along z, to (B, 21, 2)."""
    flat = turned[..., :2]
    flat_mean, crop_mean = flat.mean(1), joints_crop.mean(1)
    centred = flat - flat_mean[:, None]
    covariance = (centred * (joints_crop - crop_mean[:, None])).sum((1, 2))
    scale = (covariance / centred.square().sum((1, 2)).clamp(min=LEAST_SPREAD)).clamp(*SCALES)
    return scale, crop_mean - scale[:, None] * flat_mean


class SimaHand(nn.Module):
    """Inputs -> ModelOutput, of one view (SVR-Hand) or of several (MVR-Hand): both have the two branches.

    The orientation branch reads what the shape branch found, and does not change it.
    """

    regressor: Tensor
    palm_at_rest: Tensor

    def __init__(self, config: ModelConfig, template: HandTemplate) -> None:
        super().__init__()
        self.config, sizes = config, SIZES[config.form]
        numbers = LANDMARK_NUMBERS if config.landmarks else 0
        levels = mesh_levels(template)
        is_small = config.form == "small"
        self.image_encoder = nn.Identity() if is_small else ImageHourglass(sizes.image)
        self.shape_encoder = ShapeEncoder(sizes.image, sizes.joint) if is_small else PaperShapeEncoder(sizes)
        self.joints = JointsInImage(sizes.fine, sizes.fine_side, has_start=config.landmarks)
        self.lifting = Lifting(sizes.joint, sizes.lifted, levels.counts[0], JOINT_NUMBERS if config.landmarks else 0)
        self.decoder = SpiralDecoder(template, levels, sizes.lifted, sizes.decoder)
        self.orientation_encoder = (
            OrientationEncoder(sizes.image, sizes.orientation) if is_small else PaperOrientationEncoder(sizes)
        )
        inner, heads = sizes.attention
        self.enhancement = Enhancement(
            config.enhancement, sizes.joint, sizes.orientation, inner=inner, heads=heads, dropout=config.dropout
        )
        self.rotation = RotationRegressor(sizes, numbers)
        self.camera = CameraHead(sizes.joint, numbers)
        size = sizes.joint + numbers
        self.presence = nn.Sequential(nn.Linear(size, HEAD_WIDTH), nn.ReLU(), nn.Linear(HEAD_WIDTH, 1))
        self.vertex_fusion, self.image_fusion, self.joint_fusion = self._fusions(sizes)
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        self.register_buffer("regressor", regressor, persistent=False)
        at_rest = regressor @ torch.tensor(template.vertices_m, dtype=torch.float32)
        self.register_buffer("palm_at_rest", palm_frame(at_rest), persistent=False)

    def _fusions(self, sizes: FormSizes) -> tuple[VertexFusion | None, ImageFusion | None, JointFusion | None]:
        config = self.config
        if config.network == "svr":
            return None, None, None
        of_image, of_joint = config.image_fusion, config.joint_fusion
        return (
            VertexFusion(config.vertex_fusion, sizes.lifted, config.views),
            None if of_image == "none" else ImageFusion(of_image, sizes.image, sizes.fusions[0], config.views),
            None if of_joint == "none" else JointFusion(of_joint, sizes.joint, sizes.fusions[1], config.views),
        )

    @property
    def shape_modules(self) -> tuple[nn.Module, ...]:
        """The parts of the shape branch; all others belong to the orientation's."""
        parts = (self.image_encoder, self.shape_encoder, self.joints, self.lifting, self.decoder, self.vertex_fusion)
        return tuple(part for part in parts if part is not None)

    def forward(self, inputs: Inputs) -> ModelOutput:
        views = self._views(inputs)
        flat = Inputs(*(part if part is None else part.flatten(0, 1) for part in inputs)) if views else inputs
        given = flat.middle_map if self.config.form == "small" else flat.image
        assert given is not None
        image = self.image_encoder(given)
        joint, fine = self.shape_encoder(image)
        landmarks = flat.landmarks if self.config.landmarks else None
        joints_crop = self.joints(fine, None if landmarks is None else _screen(landmarks))
        start = None if landmarks is None else palm_frame(_world(landmarks)) @ self.palm_at_rest.T
        of_joints = None if landmarks is None or start is None else _of_joints(landmarks, start)
        lifted = self.lifting(joint, joints_crop, of_joints)
        if self.vertex_fusion is not None:
            lifted = self.vertex_fusion(lifted.unflatten(0, (-1, views)))
        last, vertices = self.decoder(lifted)
        if views:
            vertices = vertices[:, None].expand(-1, views, -1, -1).flatten(0, 1)
        numbers = [] if landmarks is None else [landmarks]
        orientation, enhanced, seen_joint = self._oriented(image, joint, views)
        rotation = self.rotation(enhanced, numbers, start)
        turned = (self.regressor @ vertices.detach()) @ rotation.detach().transpose(1, 2)
        turned_dm = turned / CENTIMETRES_PER_DECIMETRE
        joint_detached = joint.detach()
        log_scale, translation = self.camera(
            joint_detached, joints_crop.detach(), turned_dm, rotation.detach(), numbers
        )
        logit = self.presence(torch.cat([joint_detached.mean((2, 3)), *numbers], dim=1)).squeeze(1)
        features = Features(lifted, last, seen_joint, orientation, enhanced)
        return ModelOutput(vertices, rotation, log_scale, translation, joints_crop, logit, features)

    def _oriented(self, image: Tensor, joint: Tensor, views: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return f_o, the enhanced f_o, and f_j with what other views add."""
        seen_image, seen_joint = image.detach(), joint.detach()
        if self.image_fusion is not None:
            seen_image = seen_image + self.image_fusion(seen_image.unflatten(0, (-1, views))).flatten(0, 1)
        if self.joint_fusion is not None:
            seen_joint = seen_joint + self.joint_fusion(seen_joint.unflatten(0, (-1, views))).flatten(0, 1)
        orientation = self.orientation_encoder(seen_image)
        # f_j itself, if no view adds to it: only so can a loss on it change the shape branch (table 6, row iii).
        found = joint if self.joint_fusion is None else seen_joint
        return orientation, self.enhancement(seen_joint, orientation), found

    def _views(self, inputs: Inputs) -> int:
        """Return the number of views, 0 for the single-view network; HandvizError for inputs of the other one."""
        given = inputs.middle_map if self.config.form == "small" else inputs.image
        wanted = "a middle map" if self.config.form == "small" else "an image"
        if given is None or (self.config.landmarks and inputs.landmarks is None):
            raise HandvizError(
                f"the network needs {wanted}{' and landmarks' * self.config.landmarks}", ErrorCode.WRONG_SHAPE
            )
        axes = 5 if self.config.network == "mvr" else 4
        if given.ndim != axes:
            raise HandvizError(
                f"the network of {self.config.network} takes {wanted} of {axes} axes, not {tuple(given.shape)}",
                ErrorCode.WRONG_SHAPE,
            )
        if axes == 4:
            return 0
        if self.config.fixed_views not in (None, given.shape[1]):
            raise HandvizError(
                f"the network concatenates {self.config.fixed_views} views, not {given.shape[1]}", ErrorCode.WRONG_SHAPE
            )
        return given.shape[1]


def _screen(landmarks: Tensor) -> Tensor:
    """Return x and y (B, 21, 2) of landmarks (B, 128) in the crop, half-sides."""
    return landmarks[:, : WORLD_NUMBERS.start].unflatten(1, (KEYPOINT_COUNT, 3))[..., :2]


def _world(landmarks: Tensor) -> Tensor:
    """Return the world positions (B, 21, 3) of landmarks (B, 128), decimetres in the crop's axes."""
    return landmarks[:, WORLD_NUMBERS].unflatten(1, (KEYPOINT_COUNT, 3))


def _of_joints(landmarks: Tensor, palm: Tensor) -> Tensor:
    """Return what landmarks (B, 128) say of each joint, (B, 21, 6): screen, and world by the palm's rotation."""
    screen, world = landmarks[:, : WORLD_NUMBERS.start].unflatten(1, (KEYPOINT_COUNT, 3)), _world(landmarks)
    return torch.cat([screen, (world - world[:, :1]) @ palm], dim=2)


def palm_frame(keypoints: Tensor) -> Tensor:
    """Return the axes (..., 3, 3), columns, of palms of keypoints (..., 21, 3): to the middle finger, and across."""
    along = keypoints[..., MIDDLE, :] - keypoints[..., WRIST, :]
    across = keypoints[..., INDEX, :] - keypoints[..., LITTLE, :]
    return rotation_from_6d(torch.cat([along, across], dim=-1))


def build_model(config: ModelConfig, template: HandTemplate) -> SimaHand:
    """Build a network, freshly initialised, for a hand model."""
    return SimaHand(config, template)
