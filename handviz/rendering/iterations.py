"""The hands of an iterative regression: which step of each is drawn."""

from collections.abc import Sequence
from dataclasses import replace

from handviz.core.records import HandMesh
from handviz.rendering.options import DrawOptions

STEP_S = 0.8
"""How long a step is shown while they are played."""
RESULT = -1
"""In place of a step's number: the result itself, fused and smoothed."""


def step_at(hand: HandMesh, options: DrawOptions, time_s: float) -> int:
    """Return the number of the hand's step that is drawn, or ``RESULT``.

    While they are played it goes through all of them and the result, again and again. A difference map is of results.
    """
    count = len(hand.steps)
    if not count or options.difference:
        return RESULT
    number = int(time_s / STEP_S) % (count + 1) if options.plays_iterations else options.iteration
    return number if number < count else RESULT


def hand_at_step(hand: HandMesh, number: int, options: DrawOptions) -> HandMesh:
    """Return the hand of a step of its model, ``RESULT`` the hand itself; in the 3D view it is where the result is."""
    if number == RESULT:
        return hand
    step = hand.steps[number]
    return step if options.view == "overlay" else replace(step, wrist_camera_m=hand.wrist_camera_m)


def step_note(hands: Sequence[HandMesh], options: DrawOptions, time_s: float) -> str:
    """Return which step of the network is drawn, for the legend; empty if it is the result that is always drawn."""
    hand = max(hands, key=lambda one: len(one.steps), default=None)
    if hand is None or not hand.steps or options.difference:
        return ""
    number = step_at(hand, options, time_s)
    if number == RESULT:
        return "Result: fused and smoothed" if options.plays_iterations else ""
    last = len(hand.steps) - 1
    return f"Network alone, after {number} of {last} iterations" if number else "Network alone, before iterating"


def seconds_to_next_step(time_s: float) -> float:
    """Return the time until another step is shown."""
    return STEP_S - time_s % STEP_S
