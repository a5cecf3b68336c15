"""``handviz adapt``: adapt a network to a camera from a clip or folder without labels, if that helps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from handviz.adaptation.adapt import Outcome, adapt, check_out, start_from, write_outcome
from handviz.adaptation.clip_crops import crops_of
from handviz.adaptation.training import AdaptConfig
from handviz.core.arguments import Count, HandModelFile, Only, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.core.paths import ADAPTED, WINDOW_COMMAND, model_file
from handviz.core.records import HandednessSetting
from handviz.detection.detectors import DetectorOption
from handviz.hand_models.choice import hand_model_for
from handviz.models.amvur.model import VariantChoice
from handviz.sources.source import open_source


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Input, starting network and output folder.

    Exit status 0 if the adapted network was written, 2 if adaptation did not help and nothing was written.
    """

    input: Positional[str]
    """Clip or folder of images, with one visible hand."""
    out: Path = ADAPTED
    """Folder of the adapted network."""
    variant: VariantChoice = "final"
    start_from: Path | None = None
    """Checkpoint folder or ONNX file instead of the shipped network."""
    every: Count = 1
    """Of a clip, every N-th frame."""
    limit: Count = 600
    """Images at most."""
    side: HandednessSetting = "detected"
    """Which hand it is."""
    detector: DetectorOption = "handviz"
    config: Annotated[AdaptConfig, Only("epochs", "seed")] = field(default_factory=AdaptConfig)
    hand_model: HandModelFile = None


def run(arguments: Arguments) -> int:
    """Adapt, compare, and write the network or report that it did not improve."""
    check_out(arguments.out)
    path = arguments.start_from or model_file(arguments.variant)
    template = hand_model_for(arguments.hand_model, path.parent)
    start = start_from(path, template)
    source = open_source(arguments.input)
    try:
        if source.is_live:
            raise HandvizError("adapt reads images and clips: record the camera first", ErrorCode.OPTION_CONFLICT)
        crops = crops_of(
            source,
            every=arguments.every,
            limit=arguments.limit,
            side=arguments.side,
            detector=arguments.detector,
        )
    finally:
        source.close()
    config = arguments.config
    outcome = adapt(start, crops, template, config)
    print_result("%s", report(outcome))
    if not outcome.kept:
        print_result("It did not help: nothing was written, keep using your present network.")
        return 2
    notes: dict[str, object] = {"input": arguments.input, "start": path.name, "frames": crops.frames,
                                "hands": len(crops), "epochs": outcome.epochs, "seed": config.seed}  # fmt: skip
    written = write_outcome(outcome, start, template, arguments.out, notes)
    print_result("%s; use it with: %s --model-dir %s", written, WINDOW_COMMAND, arguments.out)
    return 0


def report(outcome: Outcome) -> str:
    """Return the errors on held-out frames before and after as text."""
    before, after, parts = outcome.before, outcome.after, outcome.parts
    return (
        f"{len(parts.fit)} hands to learn from, {len(parts.watch)} watched, {len(parts.held_out)} held out; on these:\n"
        f"2D distance from the detector {before.distance:.2f} % of the hand -> {after.distance:.2f} %; "
        f"squared standardised error {before.standardised:.2f} -> {after.standardised:.2f}"
    )
