"""Renders scenarios of hands with their truth, and keeps the clips in files."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.files import atomic_path, read_arrays, write_arrays
from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray, Frame, Handedness, Intrinsics
from handviz.data.synthetic import look
from handviz.data.synthetic.generator import encode
from handviz.data.synthetic.motion import GRAIN, MotionPoser, TrueHand
from handviz.data.synthetic.stage import HEIGHT, WIDTH, Decor, Stage, photograph, sample_decor
from handviz.hand_models.anatomy import pose_from_angles
from handviz.rendering.studio import open_studio
from handviz.rendering.studio_parts import Material, Surface
from tools.tracking_scenarios import Actor, Scenario, Shot

CLIP_VERSION = 1
"""Counts up with every change of what a scenario looks like, so that kept clips are not taken for it."""
JPEG_QUALITY = 92
"""Of the images, as a webcam compresses its own."""
WITHIN_M = 0.05
"""How far behind the surface a keypoint may lie: it is inside a finger, or inside a bent hand."""


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """A rendered scenario of T frames and K hands, and its truth."""

    jpegs: tuple[bytes, ...]
    times_s: FloatArray
    """(T,)"""
    shots: NDArray[np.int64]
    """(T,) number of the shot that a frame belongs to"""
    keypoints_m: FloatArray
    """(T, K, 21, 3) in the camera's frame; nan where a hand is not in the shot"""
    visible: NDArray[np.bool_]
    """(T, K, 21) in the image, and not behind another hand"""
    sides: tuple[Handedness, ...]
    """(K,)"""
    intrinsics: Intrinsics

    def frames(self) -> Iterator[Frame]:
        """Yield the frames, decoded."""
        for number, (jpeg, time_s) in enumerate(zip(self.jpegs, self.times_s, strict=True)):
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
            yield Frame(number, np.asarray(image, np.uint8), float(time_s) * 1000)


class _Rendered(NamedTuple):
    jpeg: bytes
    keypoints_m: FloatArray
    visible: NDArray[np.bool_]


class Theatre:
    """Renderer of scenarios."""

    def __init__(self) -> None:
        self._stage, self._parts = Stage(open_studio(look.textures(), (WIDTH, HEIGHT))), MotionPoser()

    def clip(self, scenario: Scenario, seed: int) -> TrackedClip:
        """Render a scenario; the seed decides rooms, light and skin."""
        actors = {actor.identity: actor for shot in scenario.shots for actor in shot.actors}
        frames, times, shots = list[_Rendered](), list[FloatArray](), list[int]()
        decors: dict[int, Decor] = {}
        skins = [look.skin_material(np.random.default_rng([seed, person])) for person in range(2)]
        for number, shot in enumerate(scenario.shots):
            if shot.room not in decors:
                decors[shot.room] = self._decor(shot, skins, seed)
            own_s = np.arange(round(shot.seconds * scenario.rate_hz)) / scenario.rate_hz
            for time_s in own_s:
                frames.append(self._frame(shot, float(time_s), len(actors), skins, decors[shot.room], len(frames)))
            times.append(own_s + sum(one.seconds for one in scenario.shots[:number]))
            shots += [number] * len(own_s)
        return TrackedClip(
            jpegs=tuple(frame.jpeg for frame in frames),
            times_s=np.concatenate(times),
            shots=np.array(shots),
            keypoints_m=np.stack([frame.keypoints_m for frame in frames]),
            visible=np.stack([frame.visible for frame in frames]),
            sides=tuple(actors[identity].side for identity in sorted(actors)),
            intrinsics=self._stage.intrinsics,
        )

    def _decor(self, shot: Shot, skins: list[Material], seed: int) -> Decor:
        """Return the shot's room, exposed for its hands in the middle of the image."""
        placed = [self._true_hand(actor, 0.0, np.array([0.0, 0.0, 0.5])) for actor in shot.actors[:1]]
        shown = [self._surface(actor, skins, true) for actor, true in zip(shot.actors, placed, strict=False)]
        return sample_decor(np.random.default_rng([seed, shot.room, 7]), self._stage, shown)

    def _true_hand(self, actor: Actor, time_s: float, centre_m: FloatArray | None = None) -> TrueHand:
        mirror = np.diag([-1.0 if actor.side == "left" else 1.0, 1.0, 1.0])
        turn = rotation_from_axis_angle(actor.turn.at(time_s))
        pose = pose_from_angles(actor.angles.at(time_s)[None], self._parts.axes)
        place_m = actor.place.at(time_s) if centre_m is None else centre_m
        return self._parts.hand(pose, actor.shape, turn @ mirror, place_m)

    def _surface(self, actor: Actor, skins: list[Material], true: TrueHand) -> Surface:
        return self._stage.arm(skins[actor.person], true.arm, true.from_canonical, true.position_m)

    def _frame(
        self, shot: Shot, time_s: float, count: int, skins: list[Material], decor: Decor, number: int
    ) -> _Rendered:
        keypoints_m, visible = np.full((count, 21, 3), np.nan), np.zeros((count, 21), bool)
        hands = [self._true_hand(actor, time_s) for actor in shot.actors]
        surfaces = [self._surface(actor, skins, true) for actor, true in zip(shot.actors, hands, strict=True)]
        drawn = self._stage.draw(surfaces, decor)
        for actor, true in zip(shot.actors, hands, strict=True):
            keypoints_m[actor.identity - 1] = true.keypoints_m
            visible[actor.identity - 1] = self._stage.visible(drawn, true.keypoints_m, within_m=WITHIN_M)
        image = photograph(drawn, decor, number, grain=GRAIN)
        return _Rendered(encode(image, JPEG_QUALITY).tobytes(), keypoints_m, visible)


@lru_cache(maxsize=1)
def theatre() -> Theatre:
    """Return this process's renderer, which takes seconds to make."""
    return Theatre()


def save_clip(path: Path, clip: TrackedClip) -> None:
    """Write a clip and its truth to a file."""
    write_arrays(
        path,
        {
            "jpeg": np.frombuffer(b"".join(clip.jpegs), np.uint8),
            "jpeg_end": np.cumsum([len(data) for data in clip.jpegs]),
            "times_s": clip.times_s,
            "shots": clip.shots,
            "keypoints_m": clip.keypoints_m,
            "visible": clip.visible,
            "sides": np.array(clip.sides),
            "camera": np.array([clip.intrinsics.focal_px, *clip.intrinsics.centre_px]),
        },
    )


def load_clip(path: Path) -> TrackedClip:
    """Read what ``save_clip`` wrote; raises HandvizError if the file is damaged."""
    arrays = read_arrays(path, "delete it, and it is rendered again")
    ends = arrays["jpeg_end"].tolist()
    data = arrays["jpeg"].tobytes()
    return TrackedClip(
        jpegs=tuple(data[start:end] for start, end in zip([0, *ends], ends, strict=False)),
        times_s=arrays["times_s"],
        shots=arrays["shots"],
        keypoints_m=arrays["keypoints_m"],
        visible=arrays["visible"],
        sides=tuple(arrays["sides"].tolist()),
        intrinsics=Intrinsics(*arrays["camera"].tolist()),
    )


def write_video(path: Path, clip: TrackedClip) -> Path:
    """Write a clip as MP4, for watching it in the window."""
    rate_hz = 1 / float(np.diff(clip.times_s[:2])[0])
    with atomic_path(path) as part:
        writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, (WIDTH, HEIGHT))
        for frame in clip.frames():
            writer.write(frame.image[..., ::-1])
        writer.release()
    return path
