"""MediaPipe's hand landmarker: frame -> hands with 21 keypoints and the person's true handedness."""

import zipfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError
from handviz.core.paths import LANDMARKER_FILE
from handviz.core.records import Detection, Frame
from handviz.detection.duplicates import without_duplicates
from handviz.detection.handedness import HandednessMemory
from handviz.detection.mediapipe_import import BaseOptions, mediapipe, vision
from handviz.detection.still_search import STILL_PALM_SCORE, search_still

TASK_MEMBERS = ("hand_detector.tflite", "hand_landmarks_detector.tflite")
HOW_TO_GET = "python -m handviz build landmarker"
MILLISECONDS_PER_FRAME = 33
SMALLEST_SIDE_PX = 8
VIDEO_PALM_SCORE = 0.5


class HandLandmarker:
    """Finds hands; ``video`` follows them from frame to frame, otherwise each is searched anew in several views.

    Frames must not be mirrored: then MediaPipe's Tasks API names the person's true hand.
    """

    def __init__(
        self,
        model_path: Path = LANDMARKER_FILE,
        *,
        max_hands: int = 2,
        video: bool = True,
    ) -> None:
        """Load the task file; raises HandvizError if it is missing or damaged."""
        check_task_file(model_path)
        self._video = video
        self._max_hands = max_hands
        self._clock_ms = 0
        self._memory = HandednessMemory()
        mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
        options = vision.HandLandmarkerOptions(
            # As bytes: on Windows MediaPipe stumbles over paths that are not plain ASCII.
            base_options=BaseOptions(model_asset_buffer=model_path.read_bytes()),
            running_mode=mode,
            num_hands=max_hands,
            min_hand_detection_confidence=VIDEO_PALM_SCORE if video else STILL_PALM_SCORE,
        )
        try:
            self._landmarker = vision.HandLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise HandvizError(f"{model_path} does not load ({error}); build it anew: {HOW_TO_GET}") from error

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        """Hands of a frame, best first, no hand twice; () for pictures too small to hold one."""
        if self._video:
            return self._memory.settle(without_duplicates(self.detect_image(frame.image)))
        return search_still(frame.image, self.detect_image, max_hands=self._max_hands)

    def detect_image(self, picture: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """What MediaPipe finds in an RGB picture (H, W, 3), unfiltered."""
        height, width = picture.shape[:2]
        if min(height, width) < SMALLEST_SIDE_PX:
            return ()
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        if self._video:
            self._clock_ms += MILLISECONDS_PER_FRAME
            found = self._landmarker.detect_for_video(image, self._clock_ms)
        else:
            found = self._landmarker.detect(image)
        size = np.array([width, height])
        return tuple(
            Detection(
                handedness="left" if categories[0].category_name == "Left" else "right",
                score=float(categories[0].score),
                keypoints_px=np.array([(point.x, point.y) for point in points]) * size,
            )
            for categories, points in zip(found.handedness, found.hand_landmarks, strict=True)
        )

    def close(self) -> None:
        """Free the networks."""
        self._landmarker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_task_file(path: Path) -> None:
    """HandvizError unless ``path`` is a whole zip with MediaPipe's two hand networks."""
    how = f"build it anew: {HOW_TO_GET}"
    if not path.is_file():
        raise HandvizError(f"the hand detector {path} is missing; {how}")
    try:
        with zipfile.ZipFile(path) as archive:
            names, damaged = archive.namelist(), archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        raise HandvizError(f"the hand detector {path} is truncated or no task file ({error}); {how}") from error
    missing = [name for name in TASK_MEMBERS if name not in names]
    if missing or damaged:
        wrong = f"lacks {', '.join(missing)}" if missing else f"is damaged in {damaged}"
        raise HandvizError(f"the hand detector {path} {wrong}; expected {', '.join(TASK_MEMBERS)}; {how}")
