"""The two detectors of hands, and the option that chooses one: frame -> detections.

``handviz`` runs MediaPipe's networks in ONNX Runtime, ``mediapipe`` is MediaPipe's own library, to compare with. The
library is imported only where it is chosen.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol
from weakref import WeakValueDictionary

from handviz.core.arguments import Option
from handviz.core.paths import LANDMARK_FILE, LANDMARKER_FILE, PALM_FILE
from handviz.core.records import Detection, DetectorChoice, Device, Frame
from handviz.detection.tracking import HandTracker

if TYPE_CHECKING:
    from handviz.detection.detector import HandDetector
    from handviz.detection.landmark_network import LandmarkNetwork

DetectorOption = Annotated[
    DetectorChoice,
    Option("detector", help="handviz: MediaPipe's networks in ONNX Runtime; mediapipe: MediaPipe's own library."),
]
"""The option ``--detector``."""
_in_use: "WeakValueDictionary[tuple[Path, Device], HandDetector]" = WeakValueDictionary()
"""The networks of all detectors, by their folder and device; the last detector frees them."""


class Detector(Protocol):
    """What finds the hands of frames; one thread uses it."""

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        """Return the hands of a frame, best first, without duplicates.

        In streams at most as many as the detector was made for; of a still image all that were found.
        """
        ...

    def close(self) -> None:
        """Free the networks."""
        ...


def files_of(choice: DetectorChoice) -> tuple[Path, ...]:
    """Return the shipped files that a detector reads."""
    return (LANDMARKER_FILE, PALM_FILE, LANDMARK_FILE) if choice == "handviz" else (LANDMARKER_FILE,)


def make_detector(
    choice: DetectorChoice = "handviz",
    file: Path = LANDMARKER_FILE,
    *,
    max_hands: int,
    video: bool,
    tracker: HandTracker | None = None,
    is_beside: bool = False,
    landmarks: "LandmarkNetwork | None" = None,
    device: Device = "auto",
) -> Detector:
    """Return a detector of so many hands; HandvizError if its files are missing, damaged or foreign.

    ``file``: MediaPipe's task file, whose weights both use; the graphs of ``handviz`` lie beside it. ``video``: frames
    follow each other; if not, each is a still image, and all of its hands are looked for.
    ``tracker``: the caller's, which gets what is found and knows where hands of a stream are expected; None: its own.
    ``is_beside``: palms of a stream are searched on a thread of their own. ``landmarks``: a landmark network that the
    caller runs too; None: that of the folder. ``device``: where the networks of ``handviz`` run.
    """
    # Both are imported where they are chosen: MediaPipe's library takes half a second and writes to the terminal.
    if choice == "mediapipe":
        from handviz.detection.landmarker import HandLandmarker

        return HandLandmarker(file, max_hands=max_hands, video=video)
    networks = _networks_in(file.parent, landmarks, device)
    if not video:
        from handviz.detection.stills import StillDetector

        return StillDetector(networks)
    from handviz.detection.live import LiveDetector

    return LiveDetector(networks, tracker, max_hands=max_hands, is_beside=is_beside)


def _networks_in(folder: Path, landmarks: "LandmarkNetwork | None", device: Device) -> "HandDetector":
    """Return the networks of a folder: those of a detector in use, so that a new one after a seek loads nothing."""
    from handviz.detection.detector import HandDetector
    from handviz.detection.landmark_network import LandmarkNetwork
    from handviz.detection.palm import PalmDetector

    found = _in_use.get((folder, device))
    if found is None or (landmarks is not None and found.landmarks is not landmarks):
        palms = PalmDetector(folder / PALM_FILE.name, device=device) if found is None else found.palms
        found = HandDetector(palms, landmarks or LandmarkNetwork(folder / LANDMARK_FILE.name, device=device))
        _in_use[folder, device] = found
    return found
