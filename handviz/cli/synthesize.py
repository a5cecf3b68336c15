"""``handviz synthesize``: render hands with ground truth."""

import argparse
import logging
import os
from pathlib import Path

from tqdm import tqdm

from handviz.core.errors import HandvizError
from handviz.data.synthetic.generator import Plan, render
from handviz.data.synthetic.preview import write_preview
from handviz.evaluation.held_out import read_held_out

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Count, seed, folder."""
    parser.add_argument("--count", type=int, default=1024, help="samples in the folder when done")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of shards; started work is continued")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--hidden",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="only hands of which things hide LOW to HIGH (0..1) of what would be seen",
    )
    parser.add_argument("--preview", type=Path, help="also write a contact sheet (PNG) of the first samples")


def run(arguments: argparse.Namespace) -> int:
    """Render what is missing; stopped work goes on at the next call."""
    if arguments.count < 1 or arguments.seed < 0 or arguments.workers < 1:
        raise HandvizError("--count and --workers must be at least 1, --seed at least 0")
    hidden = tuple(arguments.hidden) if arguments.hidden else None
    if hidden and not 0 <= hidden[0] < hidden[1] <= 1:
        raise HandvizError("--hidden takes two numbers in 0..1, the lower one first")
    frozen = {part.seed: part.name for part in read_held_out().parts}
    if arguments.seed in frozen:
        raise HandvizError(
            f"seed {arguments.seed} is that of the held-out {frozen[arguments.seed]}: choose another, "
            "or results would be those of hands that were trained or decided on"
        )
    plan = Plan(arguments.out, arguments.seed, arguments.count, hidden)
    with tqdm(total=plan.count, unit="hand", smoothing=0.1) as bar:
        for done in render(plan, arguments.workers):
            bar.update(done)
    logger.info("%d hands in %s", plan.count, plan.directory)
    if arguments.preview:
        write_preview(plan.directory, arguments.preview)
        logger.info("contact sheet: %s", arguments.preview)
    return 0
