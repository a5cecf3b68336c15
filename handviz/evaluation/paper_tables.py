"""The tables of AMVUR (CVPR 2023) and its supplement: the paper's own rows, with their printed numbers.

A row names its recipe (``evaluation/recipes``), so that its run can be found. Rows of other methods are left out.
Numbers are after Procrustes alignment where a figure's name begins with ``pa_``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FIGURES: dict[str, tuple[str, str]] = {
    "auc_joints": ("AUC_J", "{:.3f}"),
    "pa_mpjpe_mm": ("PA-MPJPE, mm", "{:.1f}"),
    "auc_vertices": ("AUC_V", "{:.3f}"),
    "pa_mpvpe_mm": ("PA-MPVPE, mm", "{:.1f}"),
    "f5": ("F@5", "{:.3f}"),
    "f15": ("F@15", "{:.3f}"),
    "mpjpe_mm": ("MPJPE, mm", "{:.1f}"),
    "mpvpe_mm": ("MPVPE, mm", "{:.1f}"),
    "f5_unaligned": ("F@5", "{:.3f}"),
    "f15_unaligned": ("F@15", "{:.3f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "psnr_db": ("PSNR, dB", "{:.1f}"),
}
"""Title and format of every figure in the tables"""
WITH_CURVES = ("auc_joints", "pa_mpjpe_mm", "auc_vertices", "pa_mpvpe_mm", "f5", "f15")
ALIGNED = ("pa_mpjpe_mm", "pa_mpvpe_mm", "f5", "f15")
UNALIGNED = ("mpjpe_mm", "mpvpe_mm", "f5_unaligned", "f15_unaligned")


@dataclass(frozen=True)
class PaperRow:
    """A row as it is printed."""

    label: str
    recipe: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    """By figure; those that the paper, or our copy of it, leaves out are missing"""


@dataclass(frozen=True)
class PaperTable:
    """A table, with the split that all of its rows are tested on."""

    name: str
    """Its name in ``handviz tables``: 1 to 6, and S2 to S5 of the supplement"""
    title: str
    test: str
    """NAME/SPLIT of the data spec"""
    figures: tuple[str, ...]
    rows: tuple[PaperRow, ...]


def _rows(figures: Sequence[str], *rows: tuple[str, str, tuple[float, ...]]) -> tuple[PaperRow, ...]:
    return tuple(
        PaperRow(label, recipe, dict(zip(figures, numbers, strict=True)) if numbers else {})
        for label, recipe, numbers in rows
    )


HO3D_V2, HO3D_V3, FREIHAND = "ho3d_v2/evaluation", "ho3d_v3/evaluation", "freihand/evaluation"
TABLES = (
    PaperTable(
        "1",
        "HO3Dv2",
        HO3D_V2,
        WITH_CURVES,
        _rows(
            WITH_CURVES,
            ("supervised: prior-net", "ho3d_v2_prior", (0.783, 10.9, 0.77, 11.5, 0.460, 0.936)),
            ("supervised: AMVUR", "ho3d_v2_amvur", (0.814, 9.3, 0.813, 9.4, 0.533, 0.958)),
            ("supervised: final", "ho3d_v2_final", (0.835, 8.3, 0.836, 8.2, 0.608, 0.965)),
            ("weakly: prior-net", "ho3d_v2_weak_prior", (0.752, 12.4, 0.760, 12.0, 0.417, 0.925)),
            ("weakly: AMVUR", "ho3d_v2_weak_amvur", (0.778, 10.8, 0.698, 15.1, 0.375, 0.907)),
            ("weakly: final", "ho3d_v2_weak_final", (0.787, 10.3, 0.784, 10.8, 0.48, 0.949)),
        ),
    ),
    PaperTable(
        "2",
        "HO3Dv3",
        HO3D_V3,
        WITH_CURVES,
        _rows(
            WITH_CURVES,
            ("supervised: prior-net", "ho3d_v3_prior", (0.780, 11.3, 0.781, 11.0, 0.471, 0.931)),
            ("supervised: AMVUR", "ho3d_v3_amvur", (0.803, 9.8, 0.811, 9.7, 0.528, 0.953)),
            ("supervised: final", "ho3d_v3_final", (0.826, 8.7, 0.834, 8.3, 0.593, 0.964)),
            ("weakly: prior-net", "ho3d_v3_weak_prior", (0.759, 12.1, 0.763, 11.9, 0.422, 0.921)),
            ("weakly: AMVUR", "ho3d_v3_weak_amvur", (0.778, 10.9, 0.724, 13.6, 0.403, 0.904)),
            ("weakly: final", "ho3d_v3_weak_final", (0.789, 10.5, 0.785, 10.7, 0.475, 0.944)),
        ),
    ),
    PaperTable(
        "3",
        "Terms of the supervised loss, HO3Dv2",
        HO3D_V2,
        ALIGNED,
        _rows(
            ALIGNED,
            ("V3D", "ho3d_v2_v3d", (9.7, 8.4, 0.596, 0.960)),
            ("V3D + J3D", "ho3d_v2_v3d_j3d", (8.5, 8.3, 0.605, 0.964)),
            ("V3D + J3D + C", "ho3d_v2_v3d_j3d_c", (8.6, 8.3, 0.606, 0.963)),
            ("V3D + J3D + C + J2D", "ho3d_v2_final", (8.3, 8.2, 0.608, 0.965)),
        ),
    ),
    PaperTable(
        "4",
        "Terms of the weakly supervised loss, HO3Dv2",
        HO3D_V2,
        ALIGNED,
        _rows(
            ALIGNED,
            ("J2D", "ho3d_v2_weak_j2d", (11.9, 11.8, 0.434, 0.931)),
            ("J2D + C", "ho3d_v2_weak_j2d_c", (11.6, 11.5, 0.442, 0.935)),
            ("J2D + C + V3D", "ho3d_v2_weak_j2d_c_v3d", (11.1, 11.0, 0.46, 0.947)),
            ("J2D + C + V3D + J3D", "ho3d_v2_weak_final", (10.3, 10.8, 0.48, 0.949)),
        ),
    ),
    PaperTable(
        "5",
        "Parts of AMVUR, HO3Dv2",
        HO3D_V2,
        ALIGNED,
        _rows(
            ALIGNED,
            ("A: fully connected layers", "ho3d_v2_dense", (11.4, 11.4, 0.462, 0.932)),
            ("B: self-attention", "ho3d_v2_self", (10.5, 10.9, 0.496, 0.948)),
            ("C: B + cross-attention", "ho3d_v2_cross", (8.9, 8.7, 0.581, 0.958)),
            ("D: C + positional encoding", "ho3d_v2_final", (8.3, 8.2, 0.608, 0.965)),
        ),
    ),
    PaperTable(
        "6",
        "Texture (the paper: HO3Dv2; its numbers are not in our copy. Ours: rendered held-out hands)",
        "rendered/held_out",
        ("ssim", "psnr_db"),
        _rows(
            (),
            ("colours from the global feature alone, as [13]", "global_feature_MLP", ()),
            ("colours where the mesh falls on the image", "projective_sampling", ()),
            ("occlusion-aware texture regression", "texture_net", ()),
        ),
    ),
    PaperTable(
        "S2",
        "FreiHAND (supplement)",
        FREIHAND,
        WITH_CURVES,
        _rows(
            WITH_CURVES,
            ("supervised: final", "freihand_final", (0.89, 6.2, 0.89, 6.1, 0.767, 0.987)),
            ("weakly: final", "freihand_weak_final", (0.796, 10.8, 0.792, 10.9, 0.517, 0.943)),
        ),
    ),
    PaperTable(
        "S3",
        "Likelihood and divergence against L2, HO3Dv2 (supplement)",
        HO3D_V2,
        WITH_CURVES,
        _rows(
            WITH_CURVES,
            ("supervised: L2", "ho3d_v2_l2", (0.816, 9.2, 0.817, 9.4, 0.541, 0.959)),
            ("supervised: probabilistic", "ho3d_v2_final", (0.835, 8.3, 0.836, 8.2, 0.608, 0.965)),
            ("weakly: L2", "ho3d_v2_weak_l2", (0.776, 10.9, 0.775, 11.3, 0.453, 0.934)),
            ("weakly: probabilistic", "ho3d_v2_weak_final", (0.787, 10.3, 0.784, 10.8, 0.482, 0.949)),
        ),
    ),
    PaperTable(
        "S4",
        "Terms of the supervised loss before alignment, HO3Dv2 (supplement)",
        HO3D_V2,
        UNALIGNED,
        _rows(
            UNALIGNED,
            ("J2D", "ho3d_v2_j2d", (29.4, 28.8, 0.207, 0.659)),
            ("J2D + C", "ho3d_v2_j2d_c", (24.3, 27.6, 0.211, 0.673)),
            ("J2D + C + J3D", "ho3d_v2_j2d_c_j3d", (23.8, 27.2, 0.213, 0.676)),
            ("J2D + C + J3D + V3D", "ho3d_v2_final", (19.2, 18.6, 0.305, 0.799)),
        ),
    ),
    PaperTable(
        "S5",
        "Before alignment, HO3Dv2 (supplement)",
        HO3D_V2,
        ("mpjpe_mm",),
        _rows(
            ("mpjpe_mm",),
            ("supervised: final", "ho3d_v2_final", (19.2,)),
            ("weakly: final", "ho3d_v2_weak_final", (29.4,)),
        ),
    ),
)
