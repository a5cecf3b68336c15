"""MediaPipe's own library: frame -> hands with 21 keypoints and the person's true handedness.

The only module that loads it, and what it needs around it: ``detectors.make_detector`` imports this one if MediaPipe is
chosen.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import libraries_silenced, wants_silent_libraries
from handviz.core.paths import LANDMARKER_FILE
from handviz.core.privacy import disable_mediapipe_uploads
from handviz.core.records import Detection, FloatArray, Frame
from handviz.detection.detector_files import GET_TASK_FILE, check_task_file
from handviz.detection.palm import MIN_SIDE_PX, PALM_SCORE
from handviz.detection.still_search import STILL_PALM_SCORE, search_still
from handviz.detection.tracking import without_duplicates

UNUSED_MODULES = ("matplotlib", "matplotlib.pyplot", "sounddevice")
MILLISECONDS_PER_FRAME = 33


@contextmanager
def stand_ins() -> Iterator[None]:
    """Replace the plot and microphone libraries of MediaPipe's helpers by empty modules, until the block ends.

    The import then takes a sixth of the time. Libraries that are loaded already stay.
    """
    replaced = {}
    if not any(name in sys.modules for name in UNUSED_MODULES):
        replaced = {name: ModuleType(name) for name in UNUSED_MODULES}
        replaced["matplotlib"].__path__ = []
        sys.modules.update(replaced)
    try:
        yield
    finally:
        for name, module in replaced.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


if wants_silent_libraries():
    # Read by MediaPipe's libraries when they are loaded; the user's own values stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GLOG_minloglevel", "2")
with stand_ins():
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision


__all__ = ("BaseOptions", "mediapipe", "vision")


class HandLandmarker:
    """Detects hands; ``video`` tracks them over frames, otherwise each image is searched in several views.

    Frames must not be mirrored: then MediaPipe's Tasks API names the person's true hand.
    """

    def __init__(
        self,
        model_path: Path = LANDMARKER_FILE,
        *,
        max_hands: int = 2,
        video: bool = True,
        palm_score: float | None = None,
    ) -> None:
        """Load the task file; raises HandvizError if it is missing or damaged.

        ``palm_score`` is the least score, 0 to 1, of a palm that is looked at; None: as ``video`` needs it.
        """
        check_task_file(model_path)
        self._video = video
        self._clock_ms = 0
        self._has_warned = False
        """Whether MediaPipe has had its first hand to warn about, which it does once."""
        mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
        if palm_score is None:
            palm_score = PALM_SCORE if video else STILL_PALM_SCORE
        options = vision.HandLandmarkerOptions(
            # As bytes: on Windows MediaPipe fails on paths that are not ASCII.
            base_options=BaseOptions(model_asset_buffer=model_path.read_bytes()),
            running_mode=mode,
            num_hands=max_hands,
            min_hand_detection_confidence=palm_score,
        )
        try:
            disable_mediapipe_uploads()
            with libraries_silenced():
                self._landmarker = vision.HandLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise HandvizError(
                f"{model_path} does not load ({error}); {GET_TASK_FILE}", ErrorCode.MODEL_DAMAGED
            ) from error

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        """Return the hands of a frame, best first, without duplicates; () for images below 8 pixels.

        Of a still image those of all its views, which may be more than ``max_hands``. Which hand of an earlier frame
        each is, and its side over frames, is decided by ``tracking.HandTracker``.
        """
        if self._video:
            return without_duplicates(self.detect_image(frame.image))
        return search_still(frame.image, self.detect_image, max_hands=sys.maxsize)

    def detect_image(self, rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Return MediaPipe's unfiltered detections in an RGB image (H, W, 3)."""
        return tuple(detection for detection, _ in self.detect_with_world_landmarks(rgb))

    def detect_with_world_landmarks(self, rgb: NDArray[np.uint8]) -> tuple[tuple[Detection, FloatArray], ...]:
        """Return MediaPipe's unfiltered detections, each with its world landmarks.

        Those are (21, 3) in metres, in the camera's axes about an origin of their own, at MediaPipe's points of the
        hand.
        """
        height, width = rgb.shape[:2]
        if min(height, width) < MIN_SIDE_PX:
            return ()
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
        if self._has_warned:
            found = self._found(image)
        else:
            with libraries_silenced():
                found = self._found(image)
            self._has_warned = bool(found.hand_landmarks)
        size = np.array([width, height])
        return tuple(
            (
                Detection(
                    handedness="left" if categories[0].category_name == "Left" else "right",
                    score=float(categories[0].score),
                    keypoints_px=np.array([(point.x, point.y) for point in points]) * size,
                ),
                np.array([(point.x, point.y, point.z) for point in world]),
            )
            for categories, points, world in zip(
                found.handedness, found.hand_landmarks, found.hand_world_landmarks, strict=True
            )
        )

    def _found(self, image: Any) -> Any:
        if not self._video:
            return self._landmarker.detect(image)
        self._clock_ms += MILLISECONDS_PER_FRAME
        return self._landmarker.detect_for_video(image, self._clock_ms)

    def close(self) -> None:
        """Free the networks."""
        with libraries_silenced():
            self._landmarker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
