"""Measure whether adaptation helps in space, on rendered clips with camera effects absent from training.

Adaptation uses images alone. The ground truth is used here, afterwards, on the frames held out of training, validation
and every choice: errors before and after of the network's own output and of the program's, which MediaPipe's landmarks
also correct.
"""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from torch import Tensor

import tools
from handviz.adaptation.adapt import Outcome, adapt, start_from
from handviz.adaptation.clip_crops import ClipCrops, crops_of_frames, cuts_of
from handviz.adaptation.training import AdaptConfig
from handviz.core import metrics
from handviz.core.arguments import Count, Only, Option, between
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_text
from handviz.core.paths import model_file
from handviz.core.records import FloatArray, HandCrop, Intrinsics, NetworkOutput
from handviz.detection.crop import CropView, camera_from_crop, hand_mesh_from_crop
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.models.amvur.export import export_onnx
from handviz.models.amvur.from_onnx import Exported
from handviz.models.amvur.model import VariantChoice
from handviz.models.reconstructor import OnnxReconstructor
from handviz.pipeline.posterior import fused
from tools.unseen_looks import LOOKS, TrueClip, true_clip

FIRST_SEED = 500
"""Of the motions that figures are printed of; others were used to design the adaptation."""


@dataclass(frozen=True, eq=False)
class Demonstration:
    """Errors on the held-out frames of one clip, mm PA-MPJPE a frame."""

    look: str
    seed: int
    found: int
    frames: int
    outcome: Outcome
    own_before: FloatArray
    own_after: FloatArray
    program_before: FloatArray
    program_after: FloatArray

    def row(self) -> str:
        """Return a line of the table."""
        outcome = self.outcome
        errors = (self.own_before, self.own_after, self.program_before, self.program_after)
        means = [float(part.mean()) for part in errors]
        changes = [100 * (means[at + 1] / means[at] - 1) for at in (0, 2)]
        return (
            f"| {self.look} {self.seed} | {self.found}/{self.frames} | {outcome.height_fraction:.2f} "
            f"| {outcome.before.distance:.2f} -> {outcome.after.distance:.2f} "
            f"| {outcome.before.standardised:.2f} -> {outcome.after.standardised:.2f} "
            f"| {'yes' if outcome.kept else 'no'} "
            f"| {means[0]:.2f} -> {means[1]:.2f} ({changes[0]:+.1f} %) "
            f"| {means[2]:.2f} -> {means[3]:.2f} ({changes[1]:+.1f} %) |"
        )


HEADER = (
    "| look, seed | hands | height | 2D distance, % | standardised | kept | network's own PA-MPJPE, mm | program's |\n"
    "|---|---|---|---|---|---|---|---|"
)


def demonstrate(look: str, seed: int, seconds: float, start: Exported, config: AdaptConfig) -> Demonstration:
    """Render a clip, adapt to it, and compare with the ground truth on its held-out frames."""
    clip, template = true_clip(look, seed, seconds), load_open_hand()
    hands = crops_of_frames(clip.frames, follows=True, side=clip.handedness, total=len(clip.frames))
    outcome = adapt(start, hands, template, config)
    held_out = hands.rows(outcome.parts.held_out)
    with tempfile.TemporaryDirectory() as folder:
        path = model_file(start.config.variant, Path(folder))
        own_before, program_before = _errors(start, outcome.checked, path, held_out, clip)
        adapted = Exported(outcome.model, start.config, outcome.notes)
        own_after, program_after = _errors(adapted, outcome.checked, path, held_out, clip)
    return Demonstration(
        look, seed, len(hands), len(clip.frames), outcome, own_before, own_after, program_before, program_after
    )


def _errors(
    network: Exported, checked: Tensor, path: Path, hands: ClipCrops, clip: TrueClip
) -> tuple[FloatArray, FloatArray]:
    """Return PA-MPJPE in mm of every hand: of the network's own output, and of the program's."""
    template = load_open_hand()
    export_onnx(network.model, network.config, template, path, network.metadata, check_images=checked)
    reconstructor, displacements = OnnxReconstructor(path), vertices_from_keypoint_displacements(template)
    own, shown = [], []
    cut = cuts_of(hands)
    for image, affine, detection in zip(cut.crops, cut.affines, hands.detections, strict=True):
        crop = HandCrop(image, affine, detection)
        hand = reconstructor.reconstruct([crop])[0]
        rotation = camera_from_crop(affine, clip.intrinsics) @ hand.rotation
        own.append(hand.keypoints_m @ rotation.T)
        shown.append(_as_shown(hand, crop, clip.intrinsics, displacements))
    true = clip.keypoints_m[hands.numbers]
    own_mm, shown_mm = (metrics.pa_mpjpe_mm(np.stack(part).astype(np.float64), true) for part in (own, shown))
    return own_mm, shown_mm


def _as_shown(hand: NetworkOutput, crop: HandCrop, intrinsics: Intrinsics, displacements: FloatArray) -> FloatArray:
    """Return keypoints (21, 3) after all corrections of the pipeline (handviz/pipeline/pipeline.py)."""
    view = CropView.of(crop, intrinsics)
    placed = fused(hand, crop, view, displacements)
    return hand_mesh_from_crop(placed, crop, intrinsics=intrinsics, model="final").keypoints_m


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Clips to render and network to adapt."""

    looks: Annotated[tuple[str, ...], Option(is_positional=True, metavar="LOOK ...")]
    """Effects of tools/unseen_looks.py, or 'all'."""
    clips: Count = 3
    """Clips of each effect."""
    seconds: Annotated[float, between(8, 120)] = 20.0
    """Length of each."""
    variant: VariantChoice = "final"
    start_from: Path | None = None
    """Checkpoint folder or ONNX file instead of the shipped network."""
    config: Annotated[AdaptConfig, Only("epochs", "seed")] = field(default_factory=AdaptConfig)


def run(arguments: Arguments) -> int:
    """Print a table row for every clip of every effect."""
    looks = tuple(LOOKS) if arguments.looks == ("all",) else arguments.looks
    unknown = [name for name in looks if name not in LOOKS]
    if unknown:
        raise HandvizError(f"there is no look {unknown[0]}; there are {', '.join(LOOKS)}", ErrorCode.UNKNOWN_NAME)
    start = start_from(arguments.start_from or model_file(arguments.variant), load_open_hand())
    print_text(HEADER + "\n")
    for look in looks:
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.clips):
            print_text(demonstrate(look, seed, arguments.seconds, start, arguments.config).row() + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("adaptation_demo"))
