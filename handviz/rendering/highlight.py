"""The picked point and its attention, drawn over a result."""

from dataclasses import dataclass

from handviz.core.records import FloatArray

ROUND_NUMBERS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


@dataclass(frozen=True)
class Pick:
    """A vertex of the hand model, or a joint, of one of a result's hands."""

    hand: int
    """Index in ``FrameResult.hands``."""
    vertex: int | None = None
    joint: int | None = None


@dataclass(frozen=True, eq=False)
class AttentionShown:
    """Attention weights of one vertex to all others and to the joints, or of all vertices to one joint."""

    vertices: FloatArray
    """(V,) multiples of uniform attention; interpolation from fewer tokens can make them slightly negative."""
    joints: FloatArray | None = None
    """(21,) fractions that sum to 1; None if a joint was picked."""

    @property
    def upper(self) -> float:
        """Upper end of the colours: the next round number."""
        largest = float(self.vertices.max(initial=0.0))
        return next((number for number in ROUND_NUMBERS if number >= largest), ROUND_NUMBERS[-1])


@dataclass(frozen=True, eq=False)
class Highlight:
    """A picked point of the displayed result."""

    pick: Pick
    attention: AttentionShown | None = None
