"""The person's word on which hand is which goes before the detector's."""

from collections.abc import Sequence
from dataclasses import replace

from handviz.core.records import Detection, SideChoice


def sided(detections: Sequence[Detection], choice: SideChoice) -> tuple[Detection, ...]:
    """The detections with the side that the choice gives them."""
    if choice == "detected":
        return tuple(detections)
    return tuple(replace(detection, handedness=choice) for detection in detections)
