"""The two detectors of hands, and the option that chooses one: frame -> detections.

``handviz`` runs MediaPipe's networks in ONNX Runtime, ``mediapipe`` is MediaPipe's own library, to compare with. The
library is imported only where it is chosen.
"""

from pathlib import Path
from typing import Annotated, Protocol

from handviz.core.arguments import Option
from handviz.core.paths import LANDMARKER_FILE
from handviz.core.records import Detection, DetectorChoice, Frame
from handviz.detection.detector_files import LANDMARKS_NAME, PALM_NAME

DetectorOption = Annotated[
    DetectorChoice,
    Option("detector", help="handviz: MediaPipe's networks in ONNX Runtime; mediapipe: MediaPipe's own library."),
]
"""The option ``--detector``."""


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
    graphs = (LANDMARKER_FILE.with_name(name) for name in (PALM_NAME, LANDMARKS_NAME))
    # Until the networks run in ONNX Runtime there are no graphs.
    return (LANDMARKER_FILE, *(path for path in graphs if choice == "handviz" and path.is_file()))


def make_detector(
    choice: DetectorChoice = "handviz", file: Path = LANDMARKER_FILE, *, max_hands: int, video: bool
) -> Detector:
    """Return a detector of so many hands; HandvizError if its files are missing, damaged or foreign.

    ``file``: MediaPipe's task file, whose weights both use. ``video``: frames follow each other; if not, each is a
    still image, and ``max_hands`` is the number looked for in each of its views.
    """
    # "handviz" is the same library until the networks run in ONNX Runtime.
    from handviz.detection.landmarker import HandLandmarker

    return HandLandmarker(file, max_hands=max_hands, video=video)
