"""Maps in other styles: only the statistics of their channels change."""

import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.training.augmentation import (
    StyleNoise,
    drawn_styles,
    in_other_styles,
    spread_of_statistics,
    statistics,
)
from tests.errors import raises


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(1)
    styles = 1 + torch.rand(64, 5, 1, 1, generator=generator)
    return styles * torch.randn(64, 5, 14, 14, generator=generator) + 3 * styles


def drawn(maps, noise, seed=0):
    return drawn_styles(len(maps), spread_of_statistics(maps), noise, torch.Generator().manual_seed(seed))


def test_mean_and_uncertainty_move_by_what_was_drawn_and_the_pattern_stays(maps):
    displacements = drawn(maps, StyleNoise(fraction=1.0))
    other = in_other_styles(maps, displacements)
    wanted = statistics(maps) + displacements
    torch.testing.assert_close(statistics(other)[0], wanted[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(statistics(other)[1], wanted[1].clamp(min=0), rtol=1e-4, atol=1e-4)
    for channel in range(5):
        both = torch.stack([maps[0, channel].flatten(), other[0, channel].flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.999


def test_moves_are_as_large_as_maps_differ(maps):
    displacements = torch.cat([drawn(maps, StyleNoise(fraction=1.0, strength=2.0), seed) for seed in range(40)], dim=1)
    torch.testing.assert_close(displacements.std(dim=1), 2 * spread_of_statistics(maps), rtol=0.06, atol=0)


def test_the_others_keep_their_look_to_the_bit_of_rounding(maps):
    displacements = drawn(maps, StyleNoise(fraction=0.25))
    unchanged = (displacements == 0).all(dim=2).all(dim=0)
    assert 0.6 < unchanged.float().mean() < 0.9
    torch.testing.assert_close(in_other_styles(maps, displacements)[unchanged], maps[unchanged])


def test_a_channel_without_any_pattern_stays_finite(maps):
    maps[:, 2] = 0
    assert in_other_styles(maps, drawn(maps, StyleNoise(fraction=1.0, strength=10.0))).isfinite().all()


@pytest.mark.parametrize(
    "wrong", [{"fraction": 1.5}, {"fraction": -0.1}, {"strength": float("nan")}, {"strength": -1.0}]
)
def test_a_fraction_or_strength_out_of_range_is_refused(wrong):
    with raises(ErrorCode.BAD_VALUE, match="style_noise"):
        StyleNoise(**wrong)
