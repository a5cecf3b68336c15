"""The two ways to smooth a stream of hands, behind one door."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from handviz.core.records import VARIANTS, HandMesh, SmoothingKind, VariantName
from handviz.pipeline.kalman import KalmanSmoother
from handviz.pipeline.smoothing import HandSmoother


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


class VariantSmoothers:
    """A smoother for each variant, so that tracks of two do not mix."""

    def __init__(self, kind: SmoothingKind, strength: float) -> None:
        self._smoothers: dict[VariantName, Smoother] = {v: make_smoother(kind, strength) for v in VARIANTS}

    def of(self, variant: VariantName) -> Smoother:
        """The smoother of one variant."""
        return self._smoothers[variant]

    def set_strength(self, strength: float) -> None:
        """0 (off) to 1."""
        for smoother in self._smoothers.values():
            smoother.strength = min(max(strength, 0.0), 1.0)

    def set_kind(self, kind: SmoothingKind) -> None:
        """Smooth with another filter, which begins anew."""
        self._smoothers = {v: make_smoother(kind, smoother.strength) for v, smoother in self._smoothers.items()}

    def reset(self) -> None:
        """The next frame does not follow the last one."""
        for smoother in self._smoothers.values():
            smoother.reset()

    def smooth(
        self, found: Mapping[VariantName, tuple[HandMesh, ...]], time_ms: float
    ) -> dict[VariantName, tuple[HandMesh, ...]]:
        """Every variant's hands of the frame taken at ``time_ms``; a variant that misses a frame begins anew."""
        smoothers = self._smoothers
        for variant, smoother in smoothers.items():
            if variant not in found:
                smoother.reset()
        return {variant: smoothers[variant].smooth(hands, time_ms) for variant, hands in found.items()}
