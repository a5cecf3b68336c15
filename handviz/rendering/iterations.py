"""The hands of an iterative regression: which step of it is drawn."""

from collections.abc import Sequence

from handviz.core.records import HandMesh
from handviz.rendering.options import RESULT_STEP, DrawOptions

STEP_S = 0.8
"""How long a step is shown while they are played."""


def step_at(options: DrawOptions, steps: int, time_s: float) -> int:
    """Return the number of the step that is shown, ``steps`` for the result itself.

    While they are played it goes through all of them and the result, again and again.
    """
    return int(time_s / STEP_S) % (steps + 1) if options.plays_iterations else min(options.iteration, steps)


def hand_at_step(hand: HandMesh, options: DrawOptions, time_s: float) -> HandMesh:
    """Return the hand of the chosen step of its model; the hand itself if it is the result or has no steps."""
    if not hand.steps or (options.iteration >= RESULT_STEP and not options.plays_iterations):
        return hand
    number = step_at(options, len(hand.steps), time_s)
    return hand if number == len(hand.steps) else hand.steps[number]


def step_note(hands: Sequence[HandMesh], options: DrawOptions, time_s: float) -> str:
    """Return which step of the network is drawn, for the legend; empty if it is the result."""
    steps = max((len(hand.steps) for hand in hands), default=0)
    if not steps or (options.iteration >= RESULT_STEP and not options.plays_iterations):
        return ""
    number = step_at(options, steps, time_s)
    if number == steps:
        return "Result: fused and smoothed" if options.plays_iterations else ""
    return f"Network alone, after {number} of {steps - 1} iterations" if number else "Network alone, before iterating"
