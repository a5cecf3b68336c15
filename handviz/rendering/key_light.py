"""The main light of the viewport, which the person can move."""

import math
from dataclasses import dataclass

import numpy as np

Direction = tuple[float, float, float]


def unit(direction: Direction) -> Direction:
    """The direction at length 1, in single precision as a shader's own ``normalize`` would give it."""
    vector = np.array(direction, dtype=np.float32)
    x, y, z = (vector * (np.float32(1.0) / np.sqrt(vector @ vector))).tolist()
    return x, y, z


FIRST_DIRECTION = unit((-0.45, -0.65, -0.80))


@dataclass(frozen=True)
class KeyLight:
    """Where the light comes from; each change gives a new light."""

    to_light: Direction = FIRST_DIRECTION
    """Unit vector in the eye's axes (x right, y down, z away): the light stays where it is when hands turn."""

    RADIANS_PER_PX = 0.008
    STEEPEST_RAD = math.radians(89.0)

    def dragged(self, right_px: float, down_px: float) -> "KeyLight":
        """The light follows the mouse around the hands, and behind them if it goes far enough."""
        x, y, z = self.to_light
        yaw = math.atan2(x, -z) + right_px * self.RADIANS_PER_PX
        pitch = math.asin(min(max(y, -1.0), 1.0)) + down_px * self.RADIANS_PER_PX
        pitch = min(max(pitch, -self.STEEPEST_RAD), self.STEEPEST_RAD)
        level = math.cos(pitch)
        return KeyLight((math.sin(yaw) * level, math.sin(pitch), -math.cos(yaw) * level))

    def between_light_and_eye(self) -> Direction:
        """Where the normal of a mirror points that shows the light; any direction for a light behind the hands."""
        x, y, z = self.to_light
        return unit((x, y, z - 1.0)) if z < 1.0 else (0.0, 0.0, -1.0)
