"""Errors of SiMA-Hand's checkpoints on the held-out moments, and how each differs from the first one, view by view."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

import tools
from handviz.cli.rig import named
from handviz.core.arguments import Count, Fraction, Option, some_words
from handviz.core.output import print_text
from handviz.core.records import FloatArray
from handviz.evaluation.held_out import read_held_out, render_held_out_moments
from handviz.hand_models.open_hand import load_open_hand
from handviz.training.moments import load_moments
from tools.sima_ablations import MEASURES, interval_text, tested


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Checkpoints and moments."""

    checkpoints: Annotated[tuple[str, ...], Option(metavar="NAME=FOLDER ...", read=some_words, words="+")]
    """Folders of checkpoints, such as SVR=runs/svr/last; the others are compared with the first."""
    data: Path
    """Folder that the moments are rendered into, or were."""
    count: Count = 64
    """Moments: the first ones of the held-out set."""
    hidden: Fraction = 0.6
    """Fraction of a hand that things hide, from which its view counts as hidden."""


def run(arguments: Arguments) -> int:
    """Render, test and compare; print the tables."""
    folders = [crops.directory for crops in render_held_out_moments(read_held_out(), arguments.data, arguments.count,
                                                                    keep=True)]  # fmt: skip
    moments = load_moments(folders, load_open_hand(), arguments.count)
    views, hidden = moments.views, moments.hidden_share(torch.arange(len(moments))).flatten().numpy()
    checkpoints = named(arguments.checkpoints, "checkpoints")
    errors = {name: tested(Path(folder), folders[0])[:, : len(hidden)] for name, folder in checkpoints.items()}
    for title, rows in (("all views", np.ones(len(hidden), bool)), ("hidden views", hidden >= arguments.hidden)):
        print_text("\n".join(table(f"{title}: {rows.sum():,}", errors, rows, views)) + "\n")
    return 0


def table(title: str, errors: Mapping[str, FloatArray], rows: NDArray[np.bool_], views: int) -> Iterable[str]:
    """Yield means of chosen views (N,), mm, and differences from the first checkpoint with their 95 % intervals."""
    yield f"{title}; mm"
    yield "| checkpoint | " + " | ".join(MEASURES) + " |"
    yield "|---" * (1 + len(MEASURES)) + "|"
    moments = (np.arange(rows.size) // views)[rows]
    first = next(iter(errors))
    for name, found in errors.items():
        yield f"| {name} | " + " | ".join(f"{row[rows].mean():.2f}" for row in found) + " |"
        if name != first:
            less = found - errors[first]
            percent = 100 * less[:, rows].mean(axis=1) / errors[first][:, rows].mean(axis=1)
            yield f"| {name} less {first} | " + " | ".join(interval_text(row[rows], moments) for row in less) + " |"
            yield "| in percent | " + " | ".join(f"{value:+.1f}" for value in percent) + " |"


if __name__ == "__main__":
    sys.exit(tools.run("sima_held_out"))
