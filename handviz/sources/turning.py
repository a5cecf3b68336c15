"""Pictures of a camera that hangs sideways or upside down, turned upright before anything looks at them."""

import dataclasses

import numpy as np

from handviz.core.records import Frame

TURNS_DEG = (0, 90, 180, 270)


def turned(frame: Frame, turn_deg: int) -> Frame:
    """The frame turned clockwise by 0, 90, 180 or 270 degrees."""
    if turn_deg not in TURNS_DEG:
        raise ValueError(f"pictures are turned by one of {TURNS_DEG} degrees, not by {turn_deg}")
    if not turn_deg:
        return frame
    image = np.ascontiguousarray(np.rot90(frame.image, -turn_deg // 90))
    return dataclasses.replace(frame, image=image, turned_deg=turn_deg)
