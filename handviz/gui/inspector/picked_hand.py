"""Follows a picked point of one hand through frames."""

from collections.abc import Sequence

from handviz.core.records import HandMesh
from handviz.detection.tracking import matched_tracks
from handviz.rendering.highlight import Pick


class PickedHand:
    """The hand that a point was picked on, as it was seen last."""

    def __init__(self, hand: HandMesh, vertex: int | None, joint: int | None) -> None:
        self.latest = hand
        self.vertex, self.joint = vertex, joint

    def find(self, hands: Sequence[HandMesh]) -> Pick | None:
        """The point in a frame's hands: of the nearest of that side, or of the only one after it was lost."""
        index = self._index(hands)
        if index is None:
            return None
        self.latest = hands[index]
        return Pick(index, vertex=self.vertex, joint=self.joint)

    def _index(self, hands: Sequence[HandMesh]) -> int | None:
        for index, track in enumerate(matched_tracks(hands, [self])):
            if track is self:
                return index
        same = [
            index
            for index, hand in enumerate(hands)
            if hand.handedness == self.latest.handedness and len(hand.vertices_m) == len(self.latest.vertices_m)
        ]
        return same[0] if len(same) == 1 else None
