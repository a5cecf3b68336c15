"""Which hand of a frame is which hand of the frames before: "right", "left", and "right_2" for another right one."""

from collections.abc import Sequence

import numpy as np

from handviz.core.records import FloatArray, HandMesh


class Tracks:
    """Names hands by their side; of several of one side, the one nearest to where a track's wrist was last takes it."""

    def __init__(self) -> None:
        self._wrists: dict[str, FloatArray] = {}

    def names(self, hands: Sequence[HandMesh]) -> list[str]:
        """One name per hand, no name twice."""
        taken: list[str] = []
        for hand in hands:
            known = [name for name in self._wrists if name.startswith(hand.handedness) and name not in taken]
            name = min(known, key=lambda one: self._distance_m(one, hand), default="") or self._new_name(hand)
            self._wrists[name] = np.asarray(hand.wrist_camera_m)
            taken.append(name)
        return taken

    def _distance_m(self, name: str, hand: HandMesh) -> float:
        return float(np.linalg.norm(self._wrists[name] - hand.wrist_camera_m))

    def _new_name(self, hand: HandMesh) -> str:
        number = 1 + sum(name.startswith(hand.handedness) for name in self._wrists)
        return hand.handedness if number == 1 else f"{hand.handedness}_{number}"
