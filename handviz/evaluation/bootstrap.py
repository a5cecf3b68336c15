"""How far means would move if other samples had been drawn (Efron 1979)."""

from collections.abc import Sequence

import numpy as np

from handviz.core.records import FloatArray

RESAMPLES = 2000
BATCH = 100


def mean_intervals(
    values: FloatArray, groups: Sequence[str], *, percent: float = 95.0, resamples: int = RESAMPLES, seed: int = 0
) -> FloatArray:
    """(2, C) ends of percentile intervals of the means of values (N, C).

    Whole groups are drawn: samples of a sequence look alike, and to draw them one by one would claim too much. The
    same seed gives the same interval.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count = int(group.max()) + 1
    sums, sizes = np.zeros((count, values.shape[1])), np.bincount(group).astype(np.float64)
    np.add.at(sums, group, values)
    random, means = np.random.default_rng(seed), []
    for start in range(0, resamples, BATCH):
        drawn = random.multinomial(count, np.full(count, 1 / count), size=min(BATCH, resamples - start))
        means.append((drawn @ sums) / (drawn @ sizes)[:, None])
    tail = (100 - percent) / 2
    return np.percentile(np.concatenate(means), [tail, 100 - tail], axis=0)
