"""Whether results are what they claim: some pictures of finished shards, done again in this process."""

from dataclasses import replace
from typing import Any

import numpy as np

from handviz.cluster.listing import Listed
from handviz.cluster.run_record import Run
from handviz.cluster.shards import Entry, entries_of_shard, is_done
from handviz.cluster.worker import MakerFactory, entry_or_reason, make_entries


def differing(run: Run, listed: Listed, count: int, make: MakerFactory = make_entries, *, seed: int = 0) -> list[str]:
    """Which of ``count`` pictures, drawn at random from finished shards, get another entry now.

    Raises HandvizError if a shard is damaged.
    """
    done = [number for number in range(listed.shards) if is_done(run.out, number)]
    random = np.random.default_rng(seed)
    maker = make(replace(run, order=replace(run.order, mesh="none")))
    try:
        different = []
        for number in random.choice(done, size=count) if done else []:
            entries = list(entries_of_shard(run.out, int(number)))
            entry = entries[random.integers(len(entries))]
            again = entry_or_reason(maker, run, str(entry["file"]))
            if _without_meshes(again) != _without_meshes(entry):
                different.append(str(entry["file"]))
        return different
    finally:
        maker.close()


def _without_meshes(entry: Entry) -> dict[str, Any]:
    return {**entry, "hands": [{**hand, "mesh": None} for hand in entry["hands"]]}
