"""A few rendered hands as a download of DexYCB: all subjects with their hundred sequences, most of which are empty.

Each hand has a sequence of one frame, which one camera sees; in the seven others nothing is labelled. ``write_moments``
writes sequences of one frame that several cameras see, with their extrinsics. Not written, for nobody reads them here:
depth and object models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from handviz.core.geometry import axis_angle_from_rotation, project_points, rotation_from_axis_angle
from handviz.core.records import FloatArray, Handedness, Intrinsics
from handviz.data.datasets.dexycb_sequences import SEQUENCES, SERIALS, SUBJECTS
from handviz.hand_models.mano.parameters import MIRROR, ROTATION_MIRROR, posed
from handviz.hand_models.skinning import joint_transforms
from handviz.hand_models.template import HandTemplate
from tests.fake_datasets.cameras import seen_by
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.shapes import drawn, keypoints_from_joints
from tests.fake_datasets.stand_in_mano import left_arrays, right_arrays, stand_in_template

SIZE = (640, 480)
TRAINING_SEQUENCES = (16, 36, 0, 56, 76, 97, 23)
"""Of s0's, and over the objects of s3's three splits."""
TEST_SEQUENCES = (39, 19, 4, 59, 79, 99)
VAL_SEQUENCES = (4, 19, 39, 59)
TRAINING_SUBJECTS = (6, 7, 8, 9, 0, 1, 2, 3, 4, 5)
TEST_SUBJECTS = (7, 8, 6, 9, 2, 3, 4, 5)
VAL_SUBJECTS = (0, 1)
TIPS: dict[Handedness, tuple[int, ...]] = {"right": (745, 317, 444, 556, 673), "left": (745, 317, 445, 556, 673)}
HAND_LABEL, HALF_PX = 255, 0.5
NOBODY, EXTRINSICS = "nobody", "20200702_151821"
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
QUALITY = 95


@dataclass(frozen=True)
class _Slot:
    subject: int
    sequence: int
    serial: int


def write(name: str, root: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` hands, alternately right and left, for s0_train, as many for s0_test, four for s0_val."""
    slots = [
        *_slots(count, TRAINING_SUBJECTS, TRAINING_SEQUENCES, 6),
        *_slots(count, TEST_SUBJECTS, TEST_SEQUENCES, 7),
    ]
    slots += _slots(4, VAL_SUBJECTS, VAL_SEQUENCES, 3)
    _write_empty(root, slots)
    rng = np.random.default_rng(seed)
    hands = tiny_hands(len(slots), seed=seed, size=SIZE, sides=("right", "left"))
    for slot, hand in zip(slots, hands, strict=True):
        towards = np.array(SIZE) * rng.uniform(0.4, 0.6, 2)
        _write_views(root, slot, {slot.serial: seen_by(hand, camera(slot.serial), towards)})


@dataclass(frozen=True, eq=False)
class SeenHand:
    """A hand in the world, and eight cameras around it."""

    hand: TinyHand
    """its camera's frame is the world"""
    camera_from_world: FloatArray
    """(8, 4, 4)"""

    def by(self, serial: int) -> TinyHand:
        """Return the hand as a camera sees it, drawn without shading of things or room."""
        rotation, position = self.camera_from_world[serial, :3, :3], self.camera_from_world[serial, :3, 3]
        vertices_m = self.hand.vertices_m @ rotation.T + position
        matrix = camera(serial).matrix.copy()
        matrix[:2, 2] -= HALF_PX
        image = drawn(vertices_m, matrix, SIZE, np.array([230.0, 180.0, 150.0]))
        turned = rotation @ rotation_from_axis_angle(self.hand.global_rotation)
        return replace(
            self.hand,
            image=image,
            mask=np.asarray(255 * image.any(axis=2), np.uint8),
            intrinsics=camera(serial),
            global_rotation=axis_angle_from_rotation(turned),
            wrist_m=rotation @ self.hand.wrist_m + position,
            vertices_m=vertices_m,
            joints_m=self.hand.joints_m @ rotation.T + position,
        )


def write_moments(root: Path, count: int, seed: int = 0) -> list[SeenHand]:
    """Write ``count`` moments, alternately of right and left hands, for s0_train, and return them.

    Eight cameras see the first hands, one fewer the last: its camera 3 has no label.
    """
    slots = list(_slots(count, TRAINING_SUBJECTS, TRAINING_SEQUENCES, 0))
    _write_empty(root, slots)
    rng = np.random.default_rng(seed)
    hands = tiny_hands(count, seed=seed, size=SIZE, sides=("right", "left"))
    written = []
    for number, (slot, hand) in enumerate(zip(slots, hands, strict=True)):
        seen = SeenHand(hand, np.stack([_camera_around(rng, hand, serial) for serial in range(len(SERIALS))]))
        blind = (3,) if number == count - 1 else ()
        views = {serial: seen.by(serial) for serial in range(len(SERIALS)) if serial not in blind}
        _write_views(root, slot, views, extrinsics=f"2020_{number}")
        _write_extrinsics(root, f"2020_{number}", seen.camera_from_world)
        written.append(seen)
    return written


def _camera_around(rng: np.random.Generator, hand: TinyHand, number: int) -> FloatArray:
    """Return camera from world (4, 4) of a camera that looks at the hand from 0.7 m."""
    transform = np.eye(4)
    around = rotation_from_axis_angle(np.array([0, 2 * np.pi * number / len(SERIALS), 0]))
    transform[:3, :3] = rotation_from_axis_angle(rng.normal(0, 0.3, 3)) @ around
    transform[:3, 3] = [*rng.uniform(-0.03, 0.03, 2), 0.7] - transform[:3, :3] @ hand.vertices_m.mean(0)
    return transform


def _write_extrinsics(root: Path, name: str, camera_from_world: FloatArray) -> None:
    world_from_camera = np.linalg.inv(camera_from_world)[:, :3]
    numbers = {serial: matrix.ravel().tolist() for serial, matrix in zip(SERIALS, world_from_camera, strict=True)} | {
        "apriltag": np.eye(3, 4).ravel().tolist()
    }
    path = root / "calibration" / f"extrinsics_{name}" / "extrinsics.yml"
    _write_yaml(path, {"master": SERIALS[0], "extrinsics": numbers})


def camera(serial: int) -> Intrinsics:
    """Return the camera of a serial, each different, with two focal lengths."""
    return Intrinsics(613.0 + 9 * serial, 313.5 - 3 * serial, 245.5 + 4 * serial, focal_y_px=598.0 + 9 * serial)


def _slots(count: int, subjects: Sequence[int], sequences: Sequence[int], first_serial: int) -> Iterator[_Slot]:
    """Yield a sequence for each hand; a hundred or more fit."""
    taken: set[tuple[int, int]] = set()
    for number in range(count):
        subject, sequence = subjects[number % len(subjects)], sequences[number % len(sequences)]
        while (subject, sequence) in taken:
            sequence = (sequence + 5) % SEQUENCES
        taken.add((subject, sequence))
        yield _Slot(subject, sequence, (number + first_serial) % len(SERIALS))


def _folder(root: Path, slot: _Slot) -> Path:
    subject = SUBJECTS[slot.subject]
    return root / subject / f"{subject[:8]}_{140000 + slot.sequence}"


def _write_empty(root: Path, slots: Sequence[_Slot]) -> None:
    """Write the cameras, and all sequences but these, without a frame."""
    filled = {(slot.subject, slot.sequence) for slot in slots}
    for subject in range(len(SUBJECTS)):
        for sequence in set(range(SEQUENCES)) - {number for other, number in filled if other == subject}:
            _write_meta(root, _Slot(subject, sequence, 0), "right", NOBODY, frames=0)
    _write_shape(root, NOBODY, np.zeros(10))
    _write_cameras(root)


def _write_views(root: Path, slot: _Slot, views: dict[int, TinyHand], *, extrinsics: str = EXTRINSICS) -> None:
    """Write a sequence of one frame that these cameras see."""
    labels_by = {serial: labels_of(hand) for serial, hand in views.items()}
    # The same of all views.
    betas = [labels.pop("betas") for labels in labels_by.values()]
    side = next(iter(views.values())).handedness
    calibration = f"{SUBJECTS[slot.subject]}_{slot.sequence:02d}_{side}"
    _write_shape(root, calibration, betas[0])
    _write_meta(root, slot, side, calibration, frames=1, extrinsics=extrinsics)
    empty = {"pose_m": np.zeros((1, 51)), "joint_3d": -np.ones((1, 21, 3)), "joint_2d": -np.ones((1, 21, 2))}
    for number, serial in enumerate(SERIALS):
        hand = views.get(number)
        image = np.full((*SIZE[::-1], 3), 90, np.uint8) if hand is None else hand.image
        seg = np.zeros(SIZE[::-1]) if hand is None else np.where(hand.mask > 127, HAND_LABEL, 0)
        folder = _folder(root, slot) / serial
        folder.mkdir(parents=True, exist_ok=True)
        coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        (folder / "color_000000.jpg").write_bytes(coded.tobytes())
        arrays = {key: value.astype(np.float32) for key, value in labels_by.get(number, empty).items()}
        objects = np.zeros((1, 3, 4), np.float32)
        np.savez_compressed(folder / "labels_000000.npz", seg=seg.astype(np.uint8), pose_y=objects, **arrays)  # type: ignore[arg-type]


def labels_of(hand: TinyHand) -> dict[str, FloatArray]:
    """Arrays of a label file, and ``betas`` (10,); a left hand is one of the published MANO_LEFT, as DexYCB's are.

    That one has the right hand's directions of shape, so it comes near to the rendered hand and is another one.
    """
    template = stand_in_template()
    betas, keypoints = hand.shape, keypoints_from_joints(hand.joints_m, hand.vertices_m, TIPS[hand.handedness])
    pose = (
        hand.pose.reshape(-1, 3) * (ROTATION_MIRROR if hand.handedness == "left" else 1)
    ).ravel() - template.pose_mean
    if hand.handedness == "left":
        own = template.shape_basis.astype(np.float64).reshape(-1, 10)
        published = (template.shape_basis * MIRROR[:, None]).astype(np.float64).reshape(-1, 10)
        betas = np.linalg.lstsq(published, own @ hand.shape)[0]
        keypoints = _published_keypoints(hand, template, pose, betas)
    components = np.linalg.solve(template.pose_components.T.astype(np.float64), pose)
    translation = hand.wrist_m - rest_wrist(hand.handedness, betas)
    joint_2d = project_points(keypoints, hand.intrinsics) - HALF_PX
    return {
        "pose_m": np.concatenate([hand.global_rotation, components, translation])[None],
        "joint_3d": keypoints[None],
        "joint_2d": joint_2d[None],
        "betas": betas,
    }


def _published_keypoints(hand: TinyHand, template: HandTemplate, pose: FloatArray, betas: FloatArray) -> FloatArray:
    """Return keypoints (21, 3), in the camera's frame, of the left hand that the published file poses."""
    other = replace(template, shape_basis=template.shape_basis * MIRROR[:, None].astype(np.float32))
    vertices = posed(other, pose[None], betas[None])[0]
    rest = other.joint_regressor @ (other.vertices_m + other.shape_basis @ betas)
    rest = rest - rest[0]
    transforms = joint_transforms((pose + other.pose_mean)[None], rest[None], other.parents)[0]
    joints = np.einsum("jab,jb->ja", transforms[..., :3], rest) + transforms[..., 3]
    rotation = rotation_from_axis_angle(hand.global_rotation)
    placed = [points * MIRROR @ rotation.T + hand.wrist_m for points in (vertices, joints)]
    return keypoints_from_joints(placed[1], placed[0], TIPS["left"])


def rest_wrist(side: Handedness, betas: FloatArray) -> FloatArray:
    """Return the file's own position (3,) of the wrist joint before any pose, which the layer adds to the
    translation."""
    file = _arrays(side)
    return np.asarray(file["J_regressor"].toarray()[0] @ (file["v_template"] + file["shapedirs"] @ betas))


@lru_cache(maxsize=2)
def _arrays(side: Handedness) -> dict[str, Any]:
    return left_arrays() if side == "left" else right_arrays()


def _write_cameras(root: Path) -> None:
    for number, serial in enumerate(SERIALS):
        of = camera(number)
        numbers = {
            "fx": float(of.focals_px[0]),
            "fy": float(of.focals_px[1]),
            "ppx": of.centre_x_px - HALF_PX,
            "ppy": of.centre_y_px - HALF_PX,
        }
        path = root / "calibration" / "intrinsics" / f"{serial}_{SIZE[0]}x{SIZE[1]}.yml"
        _write_yaml(path, {"color": numbers, "depth": dict.fromkeys(numbers, 1.0)})


def _write_shape(root: Path, calibration: str, betas: FloatArray) -> None:
    _write_yaml(root / "calibration" / f"mano_{calibration}" / "mano.yml", {"betas": betas.tolist()})


def _write_meta(
    root: Path, slot: _Slot, side: Handedness, calibration: str, *, frames: int, extrinsics: str = EXTRINSICS
) -> None:
    content = {
        "serials": list(SERIALS),
        "num_frames": frames,
        "extrinsics": extrinsics,
        "ycb_ids": [1 + slot.sequence // 5],
        "ycb_grasp_ind": 0,
        "mano_sides": [side],
        "mano_calib": [calibration],
    }
    _write_yaml(_folder(root, slot) / "meta.yml", content)


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.dump(content, Dumper=DUMPER), encoding="ascii")
