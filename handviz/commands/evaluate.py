"""``handviz evaluate``: the model card, printed."""

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.data.synthetic.generator import Plan, render
from handviz.errors import HandvizError
from handviz.hand_model.open_hand import load_open_hand
from handviz.infer.reconstructor import Reconstructor
from handviz.paths import variant_file
from handviz.records import VARIANTS, CanonicalHand, Detection, HandCrop
from handviz.train.evaluate import (
    BATCH,
    Card,
    Predictor,
    card,
    card_table,
    checkpoint_predictor,
    collect,
    mediapipe_pa_mpjpe_mm,
)

logger = logging.getLogger(__name__)
HELD_OUT_SEED = 990001
HELD_OUT_COUNT = 4000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which models, on which crops."""
    parser.add_argument(
        "models", type=Path, nargs="*", help="ONNX files or checkpoint folders; without any: the three shipped variants"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help=f"folder of rendered crops; without it {HELD_OUT_COUNT} of seed {HELD_OUT_SEED} are rendered first",
    )
    parser.add_argument(
        "--mediapipe", action="store_true", help="also measure MediaPipe's own landmarks on these crops"
    )
    parser.add_argument("--count", type=int, default=HELD_OUT_COUNT, help="crops to evaluate")


def onnx_predictor(path: Path) -> Predictor:
    """Predict with ONNX Runtime, by the code of the live program."""
    reconstructor = Reconstructor(path, template_fingerprint=load_open_hand().fingerprint)
    nothing = Detection("right", 1.0, np.zeros((21, 2)))

    def predict(pictures: NDArray[np.uint8]) -> list[CanonicalHand]:
        crops = [HandCrop(picture.astype(np.float32) / 255, np.eye(2, 3), nothing) for picture in pictures]
        batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        return [hand for batch in batches for hand in reconstructor.reconstruct(batch)]

    return predict


def _title(path: Path, taken: dict[str, Card]) -> str:
    stem = path.stem.removeprefix("handviz_") if path.suffix == ".onnx" else str(path)
    return stem if stem not in taken else str(path)


def _held_out(directory: Path, count: int) -> Path:
    plan = Plan(directory, HELD_OUT_SEED, count)
    with tqdm(total=count, desc="rendering held-out hands", unit="hand", leave=False) as bar:
        for done in render(plan, os.cpu_count() or 1):
            bar.update(done)
    return directory


def run(arguments: argparse.Namespace) -> int:
    """Print one table, a column a model."""
    if arguments.count < 1:
        raise HandvizError("--count must be at least 1")
    models = arguments.models or [variant_file(variant) for variant in VARIANTS]
    template = load_open_hand()
    cards: dict[str, Card] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = arguments.data or _held_out(Path(temporary) / "heldout", arguments.count)
        count = 0
        for path in models:
            predict = onnx_predictor(path) if path.suffix == ".onnx" else checkpoint_predictor(path, template)
            answers = collect(data, predict, template, arguments.count)
            count = len(answers.std_m)
            cards[_title(path, cards)] = card(answers)
        theirs = mediapipe_pa_mpjpe_mm(data, template, arguments.count) if arguments.mediapipe else None
    sys.stdout.write(f"{count} crops of {arguments.data or f'seed {HELD_OUT_SEED}'}\n\n{card_table(cards)}\n")
    if theirs is not None:
        sys.stdout.write(f"\nMediaPipe's own world landmarks on the same crops: PA-MPJPE {theirs:.2f} mm\n")
    return 0
