"""What a step of any training does with its loss, at which rate, and to which parameters."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from handviz.models.amvur.model import HandModel
from handviz.training.cache import tail_parameters
from handviz.training.config import TrainConfig


def optimiser_groups(model: HandModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group; the stem trains end to end only, the witness never."""
    frozen = config.tail_rate == 0
    tail = [] if frozen else list(tail_parameters(model.backbone))
    of_tail = {id(parameter) for parameter in tail}
    stem = [p for p in model.backbone.parameters() if id(p) not in of_tail] if config.end_to_end else []
    heads = list(model.heads.parameters()) + ([] if frozen else list(model.evidence.parameters()))
    chosen = {id(parameter) for parameter in tail + stem + heads}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    groups = [(heads, config.head_rate), (tail, config.tail_rate), (stem, config.stem_rate)]
    groups = [(parameters, rate) for parameters, rate in groups if parameters]
    grouped = [id(parameter) for parameters, _ in groups for parameter in parameters]
    assert len(grouped) == len(set(grouped)) == sum(p.requires_grad for p in model.parameters())
    return [{"params": parameters, "lr": rate, "rate": rate} for parameters, rate in groups]


def learning_rate_factor(step: int, total: int, warm_up: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))


def descend(loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer, gradient_norm: float) -> None:
    """One step down the loss's gradient, whose norm over all of the network is cut at ``gradient_norm``."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), gradient_norm)
    optimiser.step()
