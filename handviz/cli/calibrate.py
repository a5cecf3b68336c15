"""``handviz calibrate``: fit one factor to a checkpoint's variances on crops that it was not trained on."""

from dataclasses import dataclass
from pathlib import Path

from handviz.core.arguments import Count, HandModelFile, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.calibration import fit_variance_scale
from handviz.evaluation.evaluate import collect
from handviz.hand_models.choice import hand_model_or_named
from handviz.training.checkpoint import VARIANCE_SCALES, add_metadata, parsed_notes, read_metadata, variance_scales
from handviz.training.families import family_of_checkpoint


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Checkpoint and crops."""

    checkpoint: Positional[Path]
    """Folder of a checkpoint, such as runs/final/last."""
    data: Path
    """Rendered validation crops, never the held-out ones."""
    count: Count | None = None
    """Use only the first crops."""
    hand_model: HandModelFile = None


def run(arguments: Arguments) -> int:
    """Fit the factors and store them in the checkpoint; ``export`` writes them into the ONNX file."""
    metadata = read_metadata(arguments.checkpoint)
    template = hand_model_or_named(arguments.hand_model, metadata["fingerprint"])
    family = family_of_checkpoint(arguments.checkpoint)
    if not family.is_calibrated:
        raise HandvizError(
            f"checkpoints of the family {family.id} hold no factors of variances: calibrate one of another family",
            ErrorCode.UNSUPPORTED_FORMAT,
        )
    # Fitted anew, not on top of an earlier fit.
    before = variance_scales(parsed_notes(arguments.checkpoint, metadata["notes"]))
    predict = family.predictor_of(arguments.checkpoint, template)
    answers = collect([Crops(arguments.data, arguments.count)], predict, template)
    factors = [factor * old for factor, old in zip(fit_variance_scale(answers), before, strict=True)]
    add_metadata(arguments.checkpoint, dict(zip(VARIANCE_SCALES, factors, strict=True)))
    print_result("variances x %.3f (vertices), x %.3f (keypoints), saved in %s", *factors, arguments.checkpoint)
    return 0
