"""MediaPipe's hand landmarker: frame -> hands with 21 keypoints and the person's true handedness."""

import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import UNREADABLE
from handviz.core.output import libraries_silenced
from handviz.core.paths import LANDMARKER_FILE, restore_or_build
from handviz.core.privacy import disable_mediapipe_uploads
from handviz.core.records import Detection, Frame
from handviz.detection.still_search import STILL_PALM_SCORE, search_still
from handviz.detection.tracking import without_duplicates

UNUSED_MODULES = ("matplotlib", "matplotlib.pyplot", "sounddevice")
SCORE_DECAY = 0.9
"""Fraction of a track's score that is kept for the next frame: a memory of about ten frames."""
SAME_TRACK_DISTANCE = 0.5
MAX_FRAMES_UNSEEN = 5
TASK_MEMBERS = ("hand_detector.tflite", "hand_landmarks_detector.tflite")
HOW_TO_GET = restore_or_build("build landmarker")
MILLISECONDS_PER_FRAME = 33
MIN_SIDE_PX = 8
VIDEO_PALM_SCORE = 0.5


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


with stand_ins():
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision


__all__ = ("BaseOptions", "mediapipe", "vision")


class HandTrack:
    """One hand over frames, and its summed handedness scores; positive means right."""

    def __init__(self, detection: Detection) -> None:
        self.latest = detection
        self.right_score = 0.0
        self.frames_unseen = 0

    def add(self, detection: Detection) -> None:
        """Add one frame's handedness, weighted by its score from 0.5 (a guess) to 1 (certain)."""
        sign = 1.0 if detection.handedness == "right" else -1.0
        self.right_score = SCORE_DECAY * self.right_score + sign * max(detection.score - 0.5, 0.01)
        self.latest, self.frames_unseen = detection, 0

    def distance(self, detection: Detection) -> float:
        """Return the mean distance of the keypoints as a fraction of the hand's size."""
        distances_px = np.linalg.norm(detection.keypoints_px - self.latest.keypoints_px, axis=1)
        extent_px = max(float(np.ptp(detection.keypoints_px, axis=0).max()), 1e-6)
        return float(distances_px.mean()) / extent_px


class HandednessHistory:
    """Decides the handedness of a stream's hands by the scores of all frames so far, not of one."""

    def __init__(self) -> None:
        self._tracks: list[HandTrack] = []

    def settle(self, detections: Sequence[Detection]) -> tuple[Detection, ...]:
        """Return the detections of the next frame with the handedness of their tracks."""
        free, used, settled = list(self._tracks), [], []
        for detection in detections:
            track = _nearest(detection, free)
            if track is None:
                track = HandTrack(detection)
            else:
                free.remove(track)
            track.add(detection)
            used.append(track)
            settled.append(replace(detection, handedness="right" if track.right_score > 0 else "left"))
        for track in free:
            track.frames_unseen += 1
        self._tracks = used + [track for track in free if track.frames_unseen <= MAX_FRAMES_UNSEEN]
        return tuple(settled)


def _nearest(detection: Detection, tracks: Sequence[HandTrack]) -> HandTrack | None:
    near = [(track.distance(detection), index) for index, track in enumerate(tracks)]
    distance, index = min(near, default=(np.inf, -1))
    return tracks[index] if distance <= SAME_TRACK_DISTANCE else None


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
    ) -> None:
        """Load the task file; raises HandvizError if it is missing or damaged."""
        check_task_file(model_path)
        self._video = video
        self._max_hands = max_hands
        self._clock_ms = 0
        self._history = HandednessHistory()
        self._has_warned = False
        """Whether MediaPipe has had its first hand to warn about, which it does once."""
        mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
        options = vision.HandLandmarkerOptions(
            # As bytes: on Windows MediaPipe fails on paths that are not ASCII.
            base_options=BaseOptions(model_asset_buffer=model_path.read_bytes()),
            running_mode=mode,
            num_hands=max_hands,
            min_hand_detection_confidence=VIDEO_PALM_SCORE if video else STILL_PALM_SCORE,
        )
        try:
            disable_mediapipe_uploads()
            with libraries_silenced():
                self._landmarker = vision.HandLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise HandvizError(
                f"{model_path} does not load ({error}); {HOW_TO_GET}", ErrorCode.MODEL_DAMAGED
            ) from error

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        """Return the hands of a frame, best first, without duplicates; () for images below 8 pixels."""
        if self._video:
            return self._history.settle(without_duplicates(self.detect_image(frame.image)))
        return search_still(frame.image, self.detect_image, max_hands=self._max_hands)

    def detect_image(self, rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Return MediaPipe's unfiltered detections in an RGB image (H, W, 3)."""
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
            Detection(
                handedness="left" if categories[0].category_name == "Left" else "right",
                score=float(categories[0].score),
                keypoints_px=np.array([(point.x, point.y) for point in points]) * size,
            )
            for categories, points in zip(found.handedness, found.hand_landmarks, strict=True)
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


def check_task_file(path: Path) -> None:
    """Raise HandvizError unless ``path`` is an intact zip with MediaPipe's two hand networks."""
    how = HOW_TO_GET
    if not path.is_file():
        raise HandvizError(f"the hand detector {path} is missing; {how}", ErrorCode.MODEL_MISSING)
    try:
        with zipfile.ZipFile(path) as archive:
            names, damaged = archive.namelist(), archive.testzip()
    except UNREADABLE as error:
        raise HandvizError(
            f"the hand detector {path} is truncated or not a task file ({error}); {how}", ErrorCode.MODEL_DAMAGED
        ) from error
    missing = [name for name in TASK_MEMBERS if name not in names]
    if missing or damaged:
        wrong = f"lacks {', '.join(missing)}" if missing else f"is damaged in {damaged}"
        raise HandvizError(
            f"the hand detector {path} {wrong}; expected {', '.join(TASK_MEMBERS)}; {how}", ErrorCode.MODEL_DAMAGED
        )
