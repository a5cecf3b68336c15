"""The spread of hands over views: its fit finds known numbers again, and the table counts what is covered."""

import numpy as np
import pytest

from handviz.models.sima_hand.multi_view import Spread
from tools.rig_spread import Sample, fit, table


def drawn(spread: Spread, count: int, views: int = 3) -> list[Sample]:
    """Return hands whose errors are drawn from what the spread says."""
    random, found = np.random.default_rng(views), []
    for _ in range(count):
        variance = random.exponential(9.0, (200, 3))
        found.append(Sample(views, random.normal(0, np.sqrt(spread.floor_mm**2 + spread.factor * variance)), variance))
    return found


@pytest.mark.parametrize("true", [Spread(2.0, 0.5), Spread(4.0, 2.0)])
def test_the_fit_finds_the_spread_that_errors_were_drawn_from(true: Spread) -> None:
    found = fit(drawn(true, 60))
    assert found.floor_mm == pytest.approx(true.floor_mm, rel=0.05)
    assert found.factor == pytest.approx(true.factor, rel=0.1)


def test_the_table_counts_what_is_covered_for_each_number_of_views() -> None:
    spread = Spread(3.0, 1.0)
    title, _, _, *rows = table("name", spread, drawn(spread, 40) + drawn(spread, 20, views=8))
    assert title == "name: floor 3.00 mm, factor 1.000; on 60 other hands"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [["3", "40"], ["8", "20"]]
    for row in cells:
        assert float(row[2]) == pytest.approx(float(row[3]), rel=0.05)
        assert float(row[4]) == pytest.approx(68.3, abs=1.5)
        assert float(row[5]) == pytest.approx(95, abs=1)
    *_, row = table("", Spread(1.5, 0.25), drawn(spread, 40))
    assert float(row.split("|")[5]) < 45
