"""Undo and redo of settings."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from handviz.core.camera_model import CameraModel, HandSize

MERGE_S = 1.0
"""Quicker changes of the same settings, as a slider makes while it is dragged, are one step."""
MAX_STEPS = 100
Values = Mapping[str, Any]
"""Settings by their names."""
MAX_NAMED = 3
"""Settings that a message names."""


def names_in_words(values: Values) -> str:
    """Return which settings these are, as "opacity"; for many of them their number."""
    names = [name.replace("_", " ") for name in values]
    return ", ".join(names) if len(names) <= MAX_NAMED else f"{len(names)} settings"


@dataclass(frozen=True)
class _Step:
    before: Values
    after: Values
    time_s: float

    @property
    def is_continuous(self) -> bool:
        """Whether all values are of the kind that a slider or a number box changes, not of a choice."""
        return all(map(_is_continuous, self.after.values()))

    def followed_by(self, later: "_Step") -> "_Step | None":
        """Return both steps as one if they belong together."""
        is_quick = later.time_s - self.time_s < MERGE_S
        if is_quick and self.is_continuous and later.is_continuous and self.after.keys() == later.after.keys():
            return _Step(self.before, later.after, later.time_s)
        return None

    def without(self, names: frozenset[str]) -> "_Step":
        """Return the step as if these settings had not been changed."""
        before, after = ({k: v for k, v in side.items() if k not in names} for side in (self.before, self.after))
        return _Step(before, after, self.time_s)


def _is_continuous(value: object) -> bool:
    return isinstance(value, int | float | CameraModel | HandSize) and not isinstance(value, bool)


class History:
    """The user's changes of settings: every setting of the window takes part, the theme too."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` returns seconds, which tell a drag from single changes."""
        self._clock = clock
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._may_merge = False

    def add(self, before: Values, after: Values) -> None:
        """Add the settings that a change of the user has altered, with both values; what was undone is forgotten."""
        step = _Step(before, after, self._clock())
        merged = self._done[-1].followed_by(step) if self._done and self._may_merge else None
        self._done = [*self._done[:-1], merged] if merged else [*self._done, step][-MAX_STEPS:]
        self._undone = []
        self._may_merge = True

    def undo(self) -> Values | None:
        """Return the values before the last step, None if there is none."""
        return self._move(self._done, self._undone, is_undo=True)

    def redo(self) -> Values | None:
        """Return the values after the step that was undone last, None if there is none."""
        return self._move(self._undone, self._done, is_undo=False)

    def forget(self, names: Iterable[str]) -> None:
        """Drop these settings from all steps: they have changed with something else, such as the source."""
        gone = frozenset(names)
        self._done, self._undone = (
            [step for step in (one.without(gone) for one in steps) if step.after]
            for steps in (self._done, self._undone)
        )
        self._may_merge = False

    def _move(self, source: list[_Step], target: list[_Step], *, is_undo: bool) -> Values | None:
        self._may_merge = False
        if not source:
            return None
        step = source.pop()
        target.append(step)
        return step.before if is_undo else step.after
