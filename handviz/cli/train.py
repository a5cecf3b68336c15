"""``handviz train``: train one model on rendered hands."""

from dataclasses import dataclass, fields
from typing import Annotated

from handviz.core.arguments import HandModelFile, Only
from handviz.core.output import print_result
from handviz.hand_models.choice import hand_model
from handviz.training.amvur import train
from handviz.training.config import TrainConfig

UNUSUAL = ("warm_up_steps", "gradient_norm", "landmark_noise", "style_noise", "recipe")
USUAL = Only(*(item.name for item in fields(TrainConfig) if item.name not in UNUSUAL))


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The usual options; all others are in ``TrainConfig`` and ``ModelConfig``."""

    config: Annotated[TrainConfig, USUAL]
    hand_model: HandModelFile = None


def run(arguments: Arguments) -> int:
    """Train, or resume training."""
    print_result("checkpoint: %s", train(arguments.config, hand_model(arguments.hand_model)))
    return 0
