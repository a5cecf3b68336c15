"""``handviz ablate``: the paper's ablations, trained in a cheap form, as tables beside the paper's numbers."""

import argparse
import logging
import sys
from pathlib import Path

from handviz.core.errors import HandvizError
from handviz.hand_models.choice import add_hand_model_option, hand_model
from tools.ablation import chosen, listing, markdown, read_results
from tools.ablation_run import Bench, BenchCrops, Budget, run_experiment

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to train and on what; or what to print instead."""
    default = Budget()
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, groups of them, or 'all' (see --list)")
    parser.add_argument("--list", action="store_true", help="print every experiment with the paper's numbers")
    parser.add_argument("--table", type=Path, metavar="DIR", help="print the results of DIR beside the paper's numbers")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="rendered folders to train on")
    parser.add_argument("--test", type=Path, help="rendered folder, held out, to test on")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/ablations"), help="folder of the results")
    parser.add_argument("--start-from", type=Path, help="checkpoint whose backbone is the frozen trunk")
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--batch-size", type=int, default=default.batch_size)
    parser.add_argument("--head-rate", type=float, default=default.rate)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--limit", type=int, help="train on the first crops only")
    parser.add_argument("--test-limit", type=int, help="test on the first crops only")
    add_hand_model_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train what is named, or print the list or the tables."""
    if arguments.list:
        sys.stdout.write(listing())
    elif arguments.table is not None:
        sys.stdout.write(markdown(read_results(arguments.table)))
    else:
        _train(arguments)
    return 0


def _train(arguments: argparse.Namespace) -> None:
    experiments = chosen(arguments.names)
    if not experiments or not arguments.data or arguments.test is None:
        raise HandvizError("say what to train: NAME --data DIR --test DIR (--list tells the names), or --table DIR")
    budget = Budget(arguments.steps, arguments.batch_size, arguments.head_rate, seed=arguments.seed)
    crops = BenchCrops(
        tuple(arguments.data), arguments.test, arguments.start_from, arguments.limit, arguments.test_limit
    )
    bench = Bench(crops, hand_model(arguments.hand_model))
    for experiment in experiments:
        logger.info("wrote %s", run_experiment(experiment, bench, budget, arguments.run_dir))
