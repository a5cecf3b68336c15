"""What a person points at, and where its attention goes: shown over a result, no part of it."""

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
    """Attention of one vertex to all others and to the joints, or of all vertices to one joint."""

    vertices: FloatArray
    """(V,) 1 is an even share; slightly below 0 where it was lifted from fewer tokens."""
    joints: FloatArray | None = None
    """(21,) shares that sum to 1; None where a joint was picked."""

    @property
    def most(self) -> float:
        """Upper end of the colours: the round number that holds all of it."""
        largest = float(self.vertices.max(initial=0.0))
        return next((number for number in ROUND_NUMBERS if number >= largest), ROUND_NUMBERS[-1])


@dataclass(frozen=True, eq=False)
class Highlight:
    """A picked point of the result that is shown."""

    pick: Pick
    attention: AttentionShown | None = None


# The picked point's mark and the joints' discs, as strokes of the skeleton's pass.
