"""The numbers that AMVUR's paper and supplement print of its own rows, typed apart from ``paper_tables.toml``.

They were read from the documents, digit by digit as printed, with the recipe that trains the row. A second reading is
``test_printed_figures.py``, which parses the documents where they are at hand.
"""

SIX = ("auc_joints", "pa_mpjpe_mm", "auc_vertices", "pa_mpvpe_mm", "f5", "f15")
FOUR = ("pa_mpjpe_mm", "pa_mpvpe_mm", "f5", "f15")
UNALIGNED = ("mpjpe_mm", "mpvpe_mm", "f5_unaligned", "f15_unaligned")

COLUMNS = {
    "paper, Table 1": SIX,
    "paper, Table 2": SIX,
    "paper, Table 3": FOUR,
    "paper, Table 4": FOUR,
    "paper, Table 5": FOUR,
    "supplement, Table 2": SIX,
    "supplement, Table 3": SIX,
    "supplement, Table 4": UNALIGNED,
    "supplement, Table 5": ("mpjpe_mm",),
}
"""What the columns of a table are; all but the last two tables are after Procrustes alignment"""

FIGURES = """
paper, Table 1 | Supervised, Ours(prior-net) | ho3d_v2_prior | 0.783 10.9 0.77 11.5 0.460 0.936
paper, Table 1 | Supervised, Ours(AMVUR) | ho3d_v2_amvur | 0.814 9.3 0.813 9.4 0.533 0.958
paper, Table 1 | Supervised, Ours(final) | ho3d_v2_final | 0.835 8.3 0.836 8.2 0.608 0.965
paper, Table 1 | Weakly-Supervised, Ours(prior-net) | ho3d_v2_weak_prior | 0.752 12.4 0.760 12.0 0.417 0.925
paper, Table 1 | Weakly-Supervised, Ours(AMVUR) | ho3d_v2_weak_amvur | 0.778 10.8 0.698 15.1 0.375 0.907
paper, Table 1 | Weakly-Supervised, Ours(final) | ho3d_v2_weak_final | 0.787 10.3 0.784 10.8 0.48 0.949
paper, Table 2 | Supervised, Ours(prior-net) | ho3d_v3_prior | 0.780 11.3 0.781 11.0 0.471 0.931
paper, Table 2 | Supervised, Ours(AMVUR) | ho3d_v3_amvur | 0.803 9.8 0.811 9.7 0.528 0.953
paper, Table 2 | Supervised, Ours | ho3d_v3_final | 0.826 8.7 0.834 8.3 0.593 0.964
paper, Table 2 | Weakly-Supervised, Ours(prior-net) | ho3d_v3_weak_prior | 0.759 12.1 0.763 11.9 0.422 0.921
paper, Table 2 | Weakly-Supervised, Ours(AMVUR) | ho3d_v3_weak_amvur | 0.778 10.9 0.724 13.6 0.403 0.904
paper, Table 2 | Weakly-Supervised, Ours(final) | ho3d_v3_weak_final | 0.789 10.5 0.785 10.7 0.475 0.944
paper, Table 3 | row 1 | ho3d_v2_v3d | 9.7 8.4 0.596 0.960
paper, Table 3 | row 2 | ho3d_v2_v3d_j3d | 8.5 8.3 0.605 0.964
paper, Table 3 | row 3 | ho3d_v2_v3d_j3d_c | 8.6 8.3 0.606 0.963
paper, Table 3 | row 4 | ho3d_v2_final | 8.3 8.2 0.608 0.965
paper, Table 4 | row 1 | ho3d_v2_weak_j2d | 11.9 11.8 0.434 0.931
paper, Table 4 | row 2 | ho3d_v2_weak_j2d_c | 11.6 11.5 0.442 0.935
paper, Table 4 | row 3 | ho3d_v2_weak_j2d_c_v3d | 11.1 11.0 0.46 0.947
paper, Table 4 | row 4 | ho3d_v2_weak_final | 10.3 10.8 0.48 0.949
paper, Table 5 | A, Baseline | ho3d_v2_dense | 11.4 11.4 0.462 0.932
paper, Table 5 | B, Self-attention | ho3d_v2_self | 10.5 10.9 0.496 0.948
paper, Table 5 | C, B+Cross-attention | ho3d_v2_cross | 8.9 8.7 0.581 0.958
paper, Table 5 | D, C+Positional | ho3d_v2_final | 8.3 8.2 0.608 0.965
supplement, Table 2 | Supervised, Ours(final) | freihand_final | 0.89 6.2 0.89 6.1 0.767 0.987
supplement, Table 2 | Weakly-Supervised, Ours(final) | freihand_weak_final | 0.796 10.8 0.792 10.9 0.517 0.943
supplement, Table 3 | Supervised, L2 | ho3d_v2_l2 | 0.816 9.2 0.817 9.4 0.541 0.959
supplement, Table 3 | Supervised, Ours | ho3d_v2_final | 0.835 8.3 0.836 8.2 0.608 0.965
supplement, Table 3 | Weakly supervised, L2 | ho3d_v2_weak_l2 | 0.776 10.9 0.775 11.3 0.453 0.934
supplement, Table 3 | Weakly supervised, Ours | ho3d_v2_weak_final | 0.787 10.3 0.784 10.8 0.482 0.949
supplement, Table 4 | row 1 | ho3d_v2_j2d | 29.4 28.8 0.207 0.659
supplement, Table 4 | row 2 | ho3d_v2_j2d_c | 24.3 27.6 0.211 0.673
supplement, Table 4 | row 3 | ho3d_v2_j2d_c_j3d | 23.8 27.2 0.213 0.676
supplement, Table 4 | row 4 | ho3d_v2_final | 19.2 18.6 0.305 0.799
supplement, Table 5 | Supervised methods, Ours | ho3d_v2_final | 19.2
supplement, Table 5 | Weakly Supervised methods, Ours | ho3d_v2_weak_final | 29.4
"""
"""One row a line: document and table | training scheme and method as printed, or the place of a row of marks | recipe
| numbers as printed."""

Key = tuple[str, str]


def printed() -> dict[Key, tuple[str, tuple[str, ...]]]:
    """Return recipe and printed numbers of every row, by its table and its name there."""
    rows = [[part.strip() for part in line.split("|")] for line in FIGURES.strip().splitlines()]
    found = {(table, row): (recipe, tuple(numbers.split())) for table, row, recipe, numbers in rows}
    assert len(found) == len(rows), "a row stands here twice"
    return found
