"""``handviz texture``: train, judge, export the texture net, and draw its contact sheet."""

import argparse
import logging
from pathlib import Path

from handviz.hand_model.open_hand import load_open_hand
from handviz.train.texture import TextureTrainConfig, train_texture

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with what."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_train(actions.add_parser("train", help="train on rendered hands whose colours are known"))


def run(arguments: argparse.Namespace) -> int:
    """Do the chosen action."""
    return {"train": _train}[arguments.action](arguments)


def _add_train(parser: argparse.ArgumentParser) -> None:
    default = TextureTrainConfig((), Path())
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders written by 'handviz synthesize'")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; a started run is continued")
    parser.add_argument("--validation", type=Path, help="another rendered folder, watched while training")
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--batch-size", type=int, default=default.batch_size)
    parser.add_argument("--rate", type=float, default=default.rate, help="learning rate")
    parser.add_argument("--checkpoint-every", type=int, default=default.checkpoint_every, help="steps")
    parser.add_argument("--limit", type=int, help="use only the first samples")
    parser.add_argument("--seed", type=int, default=default.seed)


def _train(arguments: argparse.Namespace) -> int:
    config = TextureTrainConfig(
        data=tuple(arguments.data),
        run=arguments.run,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        rate=arguments.rate,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        validation=arguments.validation,
        limit=arguments.limit,
    )
    logger.info("checkpoint: %s", train_texture(config, load_open_hand()))
    return 0
