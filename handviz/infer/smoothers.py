"""The two ways to smooth a stream of hands, behind one door."""

from collections.abc import Sequence
from typing import Protocol

from handviz.infer.kalman import KalmanSmoother
from handviz.infer.smoothing import HandSmoother
from handviz.records import HandMesh, SmoothingKind


class Smoother(Protocol):
    """Smooths all hands of one stream."""

    strength: float
    """0 (off) to 1"""

    def smooth(self, hands: Sequence[HandMesh], time_ms: float) -> tuple[HandMesh, ...]:
        """The hands of the frame taken at ``time_ms``, in the same order."""
        ...

    def reset(self) -> None:
        """The next frame does not follow the last one."""
        ...


def make_smoother(kind: SmoothingKind, strength: float) -> Smoother:
    """A Kalman filter (kalman.py) or a One Euro filter (smoothing.py) that has seen nothing yet."""
    return KalmanSmoother(strength) if kind == "kalman" else HandSmoother(strength)
