"""The table of checkpoints on held-out moments, of errors that are known."""

import numpy as np

from tools.sima_held_out import table


def test_means_differences_and_percents_are_of_the_chosen_views() -> None:
    rows = np.array([True, True, False, True])
    first = np.tile([10.0, 20.0, 900.0, 30.0], (4, 1))
    lines = list(table("all", {"SVR": first, "SiMA": first - 2}, rows, views=2))
    assert lines[0] == "all; mm"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[3:]]
    assert cells[0] == ["SVR", *["20.00"] * 4]
    assert cells[1] == ["SiMA", *["18.00"] * 4]
    assert cells[2] == ["SiMA less SVR", *["-2.00 [-2.00, -2.00]"] * 4]
    assert cells[3] == ["in percent", *["-10.0"] * 4]
