"""Export of a track's keypoints as BVH: a skeleton with bones of constant length, and its rotations over time.

Centimetres and degrees; axes x right, y up, z towards the viewer, the camera at the origin; the root is the wrist. At
zero rotation the hand is flat and open. The palm rotates as a whole (about the wrist, to the five knuckles, in least
squares); each finger bone then rotates in its parent by the smallest angle that makes it point at the next keypoint.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT, KEYPOINT_PARENTS, FloatArray
from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.hand_models.choice import known_hand_model
from handviz.hand_models.open_hand import load_open_hand
from handviz.io.glb import GLTF_FROM_CAMERA
from handviz.io.recording.recorded import GAP_S, Track

CENTIMETRES_PER_METRE = 100
KNUCKLES = [1, 5, 9, 13, 17]
KNUCKLE_WEIGHTS = np.array([0.3, 1.0, 1.0, 1.0, 1.0])
"""Lower for the thumb's, which moves within the palm."""
RATE_LIMITS_HZ = (5.0, 120.0)
PALM_ROUNDS = 5
MAX_FRAMES = 500_000
"""More than four hours at 30 Hz; takes some 2 GB of memory."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """N frames of a hand from the recording's beginning, with bones of constant length; glTF's axes."""

    frame_s: float
    offsets_m: FloatArray
    """(21, 3) from each keypoint's parent, at zero rotation; 0 for the wrist."""
    wrists_m: FloatArray
    """(N, 3)"""
    rotations: FloatArray
    """(N, 21, 3, 3) of each keypoint in its parent's frame; identity for tips."""
    mean_error_mm: float
    """Distance of its keypoints from the recorded ones."""
    largest_error_mm: float


def fit_skeleton(track: Track, rate_hz: float | None = None) -> Skeleton:
    """Fit a skeleton to frames at a uniform rate (None: the median recorded one), linearly interpolated.

    The frames begin with the recording, so that all its hands are in step: until it is first seen, the hand holds its
    first pose.
    """
    times_s, held, rate_hz = _uniform_times(track.times_s, rate_hz)
    keypoints_m = _at(times_s, track.times_s, track.keypoints_m * GLTF_FROM_CAMERA)
    wrists_m = _at(times_s, track.times_s, track.wrists_m * GLTF_FROM_CAMERA)
    offsets_m, palm = _rest(keypoints_m, track)
    world, positions_m = np.tile(palm[:, None], (1, KEYPOINT_COUNT, 1, 1)), np.zeros_like(keypoints_m)
    rotations = np.tile(np.eye(3), (len(times_s), KEYPOINT_COUNT, 1, 1))
    rotations[:, 0] = palm
    for joint in range(1, KEYPOINT_COUNT):
        parent = KEYPOINT_PARENTS[joint]
        positions_m[:, joint] = positions_m[:, parent] + world[:, parent] @ offsets_m[joint]
        world[:, joint] = world[:, parent]
        if joint % 4:  # the tips are ends
            points_at = world[:, parent] @ offsets_m[joint + 1]
            rotation = _smallest_rotations(points_at, keypoints_m[:, joint + 1] - positions_m[:, joint])
            world[:, joint] = rotation @ world[:, parent]
            rotations[:, joint] = world[:, parent].transpose(0, 2, 1) @ world[:, joint]
    errors_mm = np.linalg.norm(positions_m - keypoints_m, axis=2) * 1000
    return Skeleton(
        frame_s=1 / rate_hz,
        offsets_m=offsets_m,
        wrists_m=_with_held_start(wrists_m, held),
        rotations=_with_held_start(rotations, held),
        mean_error_mm=float(errors_mm.mean()),
        largest_error_mm=float(errors_mm.max()),
    )


def bvh_text(skeleton: Skeleton) -> str:
    """Return the file's text."""
    lines = ["HIERARCHY", *_hierarchy(skeleton.offsets_m * CENTIMETRES_PER_METRE, 0, "")]
    lines += ["MOTION", f"Frames: {len(skeleton.wrists_m)}", f"Frame Time: {skeleton.frame_s:.7f}"]
    columns = [skeleton.wrists_m * CENTIMETRES_PER_METRE]
    for joint in range(KEYPOINT_COUNT):
        if joint == 0 or joint % 4:
            angles = Rotation.from_matrix(skeleton.rotations[:, joint]).as_euler("ZXY", degrees=True)
            columns.append(np.unwrap(angles, axis=0, period=360))
    lines += [" ".join(f"{value:.4f}" for value in row) for row in np.concatenate(columns, axis=1)]
    return "\n".join(lines) + "\n"


def _hierarchy(offsets_cm: FloatArray, joint: int, indent: str) -> list[str]:
    children = [child for child, parent in enumerate(KEYPOINT_PARENTS) if parent == joint]
    name = "End Site" if not children else f"{'JOINT' if joint else 'ROOT'} {KEYPOINT_NAMES[joint]}"
    lines = [f"{indent}{name}", f"{indent}{{", f"{indent}  OFFSET " + " ".join(f"{v:.5f}" for v in offsets_cm[joint])]
    if children:
        position = "" if joint else "Xposition Yposition Zposition "
        lines.append(f"{indent}  CHANNELS {3 if joint else 6} {position}Zrotation Xrotation Yrotation")
    for child in children:
        lines += _hierarchy(offsets_cm, child, indent + "  ")
    return [*lines, f"{indent}}}"]


def _with_held_start(values: FloatArray, held: int) -> FloatArray:
    """Return values (N, ...) with the first one ``held`` times more before them."""
    return np.concatenate([np.repeat(values[:1], held, axis=0), values])


def _uniform_times(times_s: FloatArray, rate_hz: float | None) -> tuple[FloatArray, int, float]:
    """Return the times of the frames in which the track is there, the number of frames before them, and the rate."""
    if len(times_s) < 2:
        raise HandvizError("a BVH needs a hand in at least two frames: record a longer clip", ErrorCode.NO_HANDS)
    median_hz = 1 / float(np.median(np.diff(times_s)))
    rate_hz = float(np.clip(rate_hz or round(median_hz, 2), *RATE_LIMITS_HZ))
    # The first frame of the recording has time 0.
    held, count = math.ceil(times_s[0] * rate_hz - 1e-6), int(times_s[-1] * rate_hz + 1e-6) + 1
    if count > MAX_FRAMES:
        raise HandvizError(
            f"a BVH of {count:,} frames is too long: record at most {MAX_FRAMES:,} frames at a time",
            ErrorCode.TOO_LARGE,
        )
    return np.arange(min(held, count - 1), count) / rate_hz, min(held, count - 1), rate_hz


def _at(wanted_s: FloatArray, times_s: FloatArray, values: FloatArray) -> FloatArray:
    """Interpolate values (N, ...) linearly at other times; constant in gaps of more than ``GAP_S``."""
    after = np.clip(np.searchsorted(times_s, wanted_s), 1, len(times_s) - 1)
    step_s = times_s[after] - times_s[after - 1]
    fraction = np.clip((wanted_s - times_s[after - 1]) / step_s, 0, 1)
    fraction = np.where((step_s > GAP_S) & (fraction < 1 - 1e-9), 0.0, fraction)
    fraction = fraction.reshape(-1, *[1] * (values.ndim - 1))
    return values[after - 1] * (1 - fraction) + values[after] * fraction


def _rest(keypoints_m: FloatArray, track: Track) -> tuple[FloatArray, FloatArray]:
    """Return offsets (21, 3) with the flat hand's directions and recorded lengths, and palm rotations (N, 3, 3)."""
    template = known_hand_model(track.hand_model) or load_open_hand()
    open_m = np.asarray(template.keypoint_regressor @ template.vertices_m, np.float64) * GLTF_FROM_CAMERA
    open_m = (open_m - open_m[0]) * np.array([-1.0 if track.handedness == "left" else 1.0, 1.0, 1.0])
    knuckles = open_m[KNUCKLES]
    for _ in range(PALM_ROUNDS):
        palm = _palm_rotations(knuckles, keypoints_m[:, KNUCKLES])
        knuckles = np.einsum("nab,nka->kb", palm, keypoints_m[:, KNUCKLES]) / len(palm)
    parents = np.array(KEYPOINT_PARENTS)
    offsets_m = np.zeros((KEYPOINT_COUNT, 3))
    for joint in range(1, KEYPOINT_COUNT):
        bones = keypoints_m[:, joint] - keypoints_m[:, parents[joint]]
        direction = open_m[joint] - open_m[parents[joint]]
        offsets_m[joint] = direction / np.linalg.norm(direction) * np.linalg.norm(bones, axis=1).mean()
    offsets_m[KNUCKLES] = knuckles
    return offsets_m, palm


def _palm_rotations(rest_m: FloatArray, recorded_m: FloatArray) -> FloatArray:
    """Fit rotations (N, 3, 3) about the wrist from rest (5, 3) to recorded (N, 5, 3)."""
    left, _, right = np.linalg.svd(np.einsum("k,nka,kb->nab", KNUCKLE_WEIGHTS, recorded_m, rest_m))
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[:, None]
    rotations: FloatArray = left @ right
    return rotations


def _smallest_rotations(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the smallest rotations (N, 3, 3) that align vectors (N, 3) with others (N, 3)."""
    axis = np.cross(before, after)
    sine, cosine = np.linalg.norm(axis, axis=1), np.einsum("na,na->n", before, after)
    angle = np.arctan2(sine, cosine)
    return np.asarray(Rotation.from_rotvec(axis / np.maximum(sine, 1e-12)[:, None] * angle[:, None]).as_matrix())
