"""What each row of the paper's tables is, as a table written apart from the recipes: every setting of every row.

Written from the paper (section 4.2 and Tables 1 to 5) and its supplement (Tables 1 to 4, Algorithms 1, 2, 5 and 6), not
from ``handviz/evaluation/recipes``. A row is what its base is, and what its table says that it changes. Settings that
the paper does not state are marked as ours; they are the same in every row.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

Settings = Mapping[str, Any]
OUTSIDE = {
    "data", "run", "limit", "validation", "device", "bad_images", "camera_prior", "backbone_from", "backbone_weights",
    "start_from", "recipe",
}  # fmt: skip
"""Settings of the user's command line, by their names in TrainConfig."""
WITHOUT_EFFECT = {"landmark_noise", "style_noise"}
"""Changes of cached landmarks and maps: training on images that sees F alone has neither."""

SUPERVISED: Settings = {
    # Section 4.2.
    "supervision": "full",
    "model.backbone": "resnet50",
    "batch_size": 32,
    "weight_decay": 0.0,  # Adam
    "end_to_end": True,
    # Supplement, Table 1: F of 2048 numbers, 778 + 21 tokens of 2048 + 3 numbers at rest, attention of width 512.
    "model.variant": "final",
    "model.features": "global",
    "model.tokens": "full",
    "model.width": 512,
    "model.conditioning": "rest",
    "model.attention": "full",
    "model.positions": "mesh",
    # Section 3.3: tokens are F and a position, one cross-attention and one self-attention, then the two MLPs.
    "model.embedding": False,
    "model.blocks": 1,
    "model.feed_forward": False,
    # Supplement, Table 1: all camera parameters are regressed from F.
    "model.camera": "feature",
    # Equations 3 to 6: sums, every likelihood and divergence at the weight 1, a prior of 1 cm², independent vertices, a
    # camera of which the mean alone counts. Algorithm 1 draws no samples.
    "loss.likelihood": "gaussian",
    "loss.reduction": "sum",
    "loss.vertices": 1.0,
    "loss.keypoints": 1.0,
    "loss.image": 1.0,
    "loss.camera": 1.0,
    "loss.kl": 1.0,
    "loss.kl_vertices": 1.0,
    "loss.kl_keypoints": 1.0,
    "loss.kl_image": 1.0,
    "loss.prior_log_variance": 0.0,
    "loss.vertex_correlation": 0.0,
    "loss.camera_variance": False,
    "loss.camera_likelihood": 0.0,
    "loss.samples": 0,
    "loss.sample_loss": "likelihood",  # not read
    "loss.likelihood_from": 0.0,
    "loss.beta": 0.0,
    # Terms of ours.
    "loss.prior": 0.0,
    "loss.crop": 0.0,
    "loss.joints": 0.0,
    "loss.rotation": 0.0,
    "loss.edges": 0.0,
    "model.landmarks": True,
    "model.residuals": False,
    "model.presence": False,
    "loss.presence": 0.5,  # not read without the head
    "model.rank": 0,
    "loss.covariance": 1.0,  # not read without the covariance
    "covariance_only": False,
    # Not read: weights of weak training.
    "loss.weak.camera": 1.0,
    "loss.weak.keypoints": 0.05,
    "loss.weak.vertices": 0.05,
    "loss.weak.prior": 1.0,
    "loss.weak.pose": 0.01,
    "loss.weak.shape": 0.01,
    "loss.weak.draws": 4,
    "loss.weak.label_std": 0.0,
    "loss.weak.variance": "projected",
    "loss.weak.camera_std": 0.0,
    # Ours, not stated by the paper.
    "epochs": 30,
    "head_rate": 1e-4,
    "tail_rate": 1e-4,
    "stem_rate": 1e-4,
    "warm_up_steps": 200,
    "gradient_norm": 5000.0,
    "seed": 0,
    "checkpoint_every": 200,
    "model.heads": 4,
    "model.regressor_width": 512,
    "model.landmark_stem": False,
    "model.feature_width": 192,
    "model.feature_layers": 2,
}
"""Algorithm 1: prior-net and AMVUR jointly, all terms."""

WEAK: Settings = SUPERVISED | {
    # Section 4.2.
    "supervision": "weak",
    "model.backbone": "efficientnet_b0",
    # Equation 8: 2D joints alone, one sample, three divergences at the weight 1, camera prior of variance 1.
    "loss.vertices": 0.0,
    "loss.keypoints": 0.0,
    "loss.camera": 0.0,
    "loss.kl": 0.0,
    "loss.kl_image": 0.0,  # not read
    "loss.weak.camera": 1.0,
    "loss.weak.keypoints": 1.0,
    "loss.weak.vertices": 1.0,
    "loss.weak.draws": 1,
    "loss.weak.camera_std": 1.0,
    # Terms of ours: off, but for the small priors of pose and shape.
    "loss.weak.prior": 0.0,
    "loss.weak.pose": 0.01,
    "loss.weak.shape": 0.01,
}
"""Algorithm 2: prior-net and AMVUR jointly, all terms."""

# Algorithms 5 and 6, step 6: L2 on 3D vertices, camera and 2D joints; in weak training on 2D joints.
ALONE: Settings = {
    "loss.likelihood": "l2", "loss.keypoints": 0.0, "loss.kl": 0.0, "loss.kl_image": 0.0
}  # fmt: skip
WEAK_ALONE: Settings = {
    "loss.likelihood": "l2", "loss.weak.camera": 0.0, "loss.weak.keypoints": 0.0, "loss.weak.vertices": 0.0
}  # fmt: skip
PRIOR, AMVUR = {"model.variant": "prior"}, {"model.variant": "amvur"}
V3D, J3D, J2D = ({f"loss.{name}": 0.0, f"loss.kl_{name}": 0.0} for name in ("vertices", "keypoints", "image"))
C: Settings = {"loss.camera": 0.0}
"""Terms left out, by the paper's names: equations 3, 5 and 6 are a likelihood and a divergence each, 4 is the camera"""
WEAK_V3D, WEAK_J3D, WEAK_C = ({f"loss.weak.{name}": 0.0} for name in ("vertices", "keypoints", "camera"))
NOTHING: Settings = {}


class Row(NamedTuple):
    """A row of the paper."""

    source: str
    dataset: str
    base: Settings
    changes: Settings

    @property
    def settings(self) -> Settings:
        """Every setting by its name."""
        return {**self.base, **self.changes}


HO3D_V2, HO3D_V3, FREIHAND = "ho3d_v2/train", "ho3d_v3/train", "freihand/training"
ROWS = {
    "ho3d_v2_prior": Row("Table 1, supervised, prior-net; Algorithm 5", HO3D_V2, SUPERVISED, PRIOR | ALONE),
    "ho3d_v2_amvur": Row("Table 1, supervised, AMVUR; Algorithm 6", HO3D_V2, SUPERVISED, AMVUR | ALONE),
    "ho3d_v2_final": Row("Table 1, supervised, final; Algorithm 1", HO3D_V2, SUPERVISED, NOTHING),
    "ho3d_v2_weak_prior": Row("Table 1, weakly, prior-net; Algorithm 5", HO3D_V2, WEAK, PRIOR | WEAK_ALONE),
    "ho3d_v2_weak_amvur": Row("Table 1, weakly, AMVUR; Algorithm 6", HO3D_V2, WEAK, AMVUR | WEAK_ALONE),
    "ho3d_v2_weak_final": Row("Table 1, weakly, final; Algorithm 2", HO3D_V2, WEAK, NOTHING),
    "ho3d_v3_prior": Row("Table 2, supervised, prior-net; Algorithm 5", HO3D_V3, SUPERVISED, PRIOR | ALONE),
    "ho3d_v3_amvur": Row("Table 2, supervised, AMVUR; Algorithm 6", HO3D_V3, SUPERVISED, AMVUR | ALONE),
    "ho3d_v3_final": Row("Table 2, supervised, final; Algorithm 1", HO3D_V3, SUPERVISED, NOTHING),
    "ho3d_v3_weak_prior": Row("Table 2, weakly, prior-net; Algorithm 5", HO3D_V3, WEAK, PRIOR | WEAK_ALONE),
    "ho3d_v3_weak_amvur": Row("Table 2, weakly, AMVUR; Algorithm 6", HO3D_V3, WEAK, AMVUR | WEAK_ALONE),
    "ho3d_v3_weak_final": Row("Table 2, weakly, final; Algorithm 2", HO3D_V3, WEAK, NOTHING),
    "ho3d_v2_v3d": Row("Table 3, row 1", HO3D_V2, SUPERVISED, J3D | C | J2D),
    "ho3d_v2_v3d_j3d": Row("Table 3, row 2", HO3D_V2, SUPERVISED, C | J2D),
    "ho3d_v2_v3d_j3d_c": Row("Table 3, row 3", HO3D_V2, SUPERVISED, J2D),
    "ho3d_v2_weak_j2d": Row("Table 4, row 1", HO3D_V2, WEAK, WEAK_C | WEAK_V3D | WEAK_J3D),
    "ho3d_v2_weak_j2d_c": Row("Table 4, row 2", HO3D_V2, WEAK, WEAK_V3D | WEAK_J3D),
    "ho3d_v2_weak_j2d_c_v3d": Row("Table 4, row 3", HO3D_V2, WEAK, WEAK_J3D),
    "ho3d_v2_dense": Row("Table 5, A", HO3D_V2, SUPERVISED, {"model.attention": "dense"}),
    "ho3d_v2_self": Row(
        "Table 5, B", HO3D_V2, SUPERVISED, {"model.attention": "self", "model.positions": "index"}
    ),
    "ho3d_v2_cross": Row("Table 5, C", HO3D_V2, SUPERVISED, {"model.positions": "index"}),
    "freihand_final": Row("supplement, Table 2, supervised; Algorithm 1", FREIHAND, SUPERVISED, NOTHING),
    "freihand_weak_final": Row("supplement, Table 2, weakly; Algorithm 2", FREIHAND, WEAK, NOTHING),
    "ho3d_v2_l2": Row("supplement, Table 3, supervised, L2", HO3D_V2, SUPERVISED, {"loss.likelihood": "l2"}),
    "ho3d_v2_weak_l2": Row("supplement, Table 3, weakly, L2", HO3D_V2, WEAK, {"loss.likelihood": "l2"}),
    "ho3d_v2_j2d": Row("supplement, Table 4, row 1", HO3D_V2, SUPERVISED, C | J3D | V3D),
    "ho3d_v2_j2d_c": Row("supplement, Table 4, row 2", HO3D_V2, SUPERVISED, J3D | V3D),
    "ho3d_v2_j2d_c_j3d": Row("supplement, Table 4, row 3", HO3D_V2, SUPERVISED, V3D),
}  # fmt: skip
