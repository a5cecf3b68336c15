"""Animations of recordings, read back by readers of the tests' own that know nothing of the writers."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hands import textured_hand
from scipy.spatial.transform import Rotation

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.core.records import FloatArray, Frame, FrameResult, Handedness, HandMesh
from handviz.hand_models.open_hand import load_display_mesh, load_open_hand
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.io.recording.animate import animate
from handviz.io.recording.animated_glb import presence
from handviz.io.recording.recorded import read_tracks
from handviz.io.recording.recording import Recording
from handviz.io.recording.timed_results import timed_result_of
from tests.errors import raises

AWAY = range(9, 15)
"""Frames without the left hand: 0.6 s."""
COUNT = 24
GLTF = np.array([1.0, -1.0, -1.0])


def posed(number: int, handedness: Handedness) -> HandMesh:
    """Pose the open hand: it closes, rotates, translates, and is deformed as bones alone cannot deform it."""
    template = load_open_hand()
    fraction = number / COUNT
    pose = np.zeros((1, 15, 3))
    pose[0, :, 0] = 1.1 * fraction
    joints = np.asarray(template.joint_regressor @ template.vertices_m, np.float64)[None]
    transforms = joint_transforms(pose.reshape(1, 45), joints, template.parents)
    vertices = skin(np.asarray(template.vertices_m, np.float64)[None], template.skinning_weights, transforms)[0]
    vertices = vertices * (1 + 0.03 * np.sin(60 * vertices[:, :1] + 4 * fraction))
    rotation = Rotation.from_rotvec([0.3 * fraction, 0.9 * fraction, -0.4]).as_matrix()
    vertices = (vertices * [-1.0 if handedness == "left" else 1.0, 1, 1]) @ rotation.T
    keypoints = template.keypoint_regressor @ vertices
    return HandMesh(
        **{
            **vars(textured_hand(handedness=handedness)),
            "vertices_m": vertices - keypoints[0],
            "keypoints_m": keypoints - keypoints[0],
            "wrist_camera_m": np.array([0.1 * fraction, -0.05, 0.5 + 0.1 * fraction]),
        }
    )


@pytest.fixture(scope="session")
def recorded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record two hands at 10 Hz; the left one is absent for 0.6 s."""
    recording = Recording(tmp_path_factory.mktemp("recordings") / "first", reserve_bytes=0)
    for number in range(COUNT):
        sides: list[Handedness] = ["right"] if number in AWAY else ["right", "left"]
        frame = Frame(number, np.zeros((480, 640, 3), np.uint8), 5000.0 + 100 * number)
        hands = tuple(posed(number, side) for side in sides)
        recording.add_result(timed_result_of(FrameResult(frame, "final", hands=hands), "clip.mp4"), number / 10)
    recording.close()
    return recording.folder


class Gltf:
    """Viewer of a GLB, after the glTF 2.0 specification."""

    def __init__(self, content: bytes) -> None:
        magic, version, size = struct.unpack_from("<4sII", content)
        assert (magic, version, size) == (b"glTF", 2, len(content))
        (json_size,) = struct.unpack_from("<I", content, 12)
        self.tree = json.loads(content[20 : 20 + json_size])
        self.binary = content[28 + json_size :]

    def numbers(self, accessor: int) -> np.ndarray:
        entry = self.tree["accessors"][accessor]
        view = self.tree["bufferViews"][entry["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[entry["type"]]
        kind = {5126: "<f4", 5125: "<u4", 5121: "u1"}[entry["componentType"]]
        return np.frombuffer(self.binary, kind, entry["count"] * width, view["byteOffset"]).reshape(-1, width)

    def vertices(self, name: str, key: int, track_times: FloatArray) -> np.ndarray:
        """Return world positions (V, 3) of the mesh with this name at a key."""
        nodes = [dict(node) for node in self.tree["nodes"]]
        animation = self.tree["animations"][0]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            values = self.numbers(sampler["output"])
            times = self.numbers(sampler["input"])[:, 0]
            at = int(np.searchsorted(times, track_times[key] + 1e-4)) - 1
            node, path = nodes[channel["target"]["node"]], channel["target"]["path"]
            node[path] = values.reshape(len(times), -1)[at]
        mesh_node = next(node for node in nodes if node["name"] == name)
        (primitive,) = self.tree["meshes"][mesh_node["mesh"]]["primitives"]
        read = {part: self.numbers(accessor) for part, accessor in primitive["attributes"].items()}
        shapes = [self.numbers(target["POSITION"]) for target in primitive["targets"]]
        positions = read["POSITION"] + np.einsum("k,kva->va", mesh_node["weights"], shapes)
        skin_entry = self.tree["skins"][mesh_node["skin"]]
        inverse = self.numbers(skin_entry["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        world = self._world(nodes)
        bones = np.stack([world[joint] @ back for joint, back in zip(skin_entry["joints"], inverse, strict=True)])
        assert np.allclose(read["WEIGHTS_0"].sum(axis=1), 1, atol=1e-6)
        blended = np.einsum("vk,vkab->vab", read["WEIGHTS_0"], bones[read["JOINTS_0"]])
        return np.einsum("vab,vb->va", blended, np.c_[positions, np.ones(len(positions))])[:, :3]

    def _world(self, nodes: list[dict]) -> dict[int, np.ndarray]:
        world: dict[int, np.ndarray] = {}

        def place(number: int, above: np.ndarray) -> None:
            node, own = nodes[number], np.eye(4)
            own[:3, :3] = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix()
            own[:3, :3] *= np.asarray(node.get("scale", [1, 1, 1]))
            own[:3, 3] = node.get("translation", [0, 0, 0])
            world[number] = above @ own
            for child in node.get("children", []):
                place(child, world[number])

        for root in self.tree["scenes"][0]["nodes"]:
            place(root, np.eye(4))
        return world


def test_glb_shows_the_recorded_hands(recorded_folder: Path, tmp_path: Path) -> None:
    (made,) = animate(recorded_folder, ["glb"], tmp_path)
    gltf, surface = Gltf(made.path.read_bytes()), load_display_mesh()
    for track in read_tracks(recorded_folder):
        errors = []
        for key in range(len(track.times_s)):
            wanted = (surface.lift(np.asarray(track.vertices_m[key], float)) + track.wrists_m[key]) * GLTF
            errors.append(np.linalg.norm(gltf.vertices(track.name, key, track.times_s) - wanted, axis=1) * 1000)
        assert np.mean(errors) < 0.25
        assert np.max(errors) < 3.0
    assert "mm from the record on average" in made.message


def test_glb_loads_in_trimesh(recorded_folder: Path, tmp_path: Path) -> None:
    (made,) = animate(recorded_folder, ["glb"], tmp_path, colour="uncertainty")
    scene = trimesh.load(made.path)
    assert sorted(scene.geometry) == ["left", "right"]
    assert {len(mesh.faces) for mesh in scene.geometry.values()} == {len(load_display_mesh().faces)}


def test_absent_hand_is_hidden(recorded_folder: Path, tmp_path: Path) -> None:
    (made,) = animate(recorded_folder, ["glb"], tmp_path)
    gltf = Gltf(made.path.read_bytes())
    left = next(track for track in read_tracks(recorded_folder) if track.name == "left")
    times = np.array([0.1, 0.8, 1.2, 1.5])
    sizes = [np.ptp(gltf.vertices("left", key, times), axis=0).max() for key in range(4)]
    assert [size > 0.05 for size in sizes] == [True, True, False, True]
    _, is_there = presence(left.times_s)
    assert is_there.tolist() == [True, False, True]
    assert presence(np.array([2.0, 2.1]))[1].tolist() == [False, True]


@dataclass
class Bvh:
    """Independent reader, after the format's usual description."""

    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    channels: list[list[str]]
    frames: np.ndarray
    frame_s: float

    @staticmethod
    def read(text: str) -> "Bvh":
        words = iter(text.split())
        names: list[str] = []
        parents: list[int] = []
        offsets: list[list[float]] = []
        channels: list[list[str]] = []
        stack: list[int] = []
        for word in words:
            if word in ("ROOT", "JOINT", "End"):
                parents.append(stack[-1] if stack else -1)
                names.append(next(words))
                channels.append([])
            elif word == "{":
                stack.append(len(names) - 1)
            elif word == "}":
                stack.pop()
            elif word == "OFFSET":
                offsets.append([float(next(words)) for _ in range(3)])
            elif word == "CHANNELS":
                channels[-1] = [next(words) for _ in range(int(next(words)))]
            elif word == "Frames:":
                count = int(next(words))
            elif word == "Time:":
                frame_s = float(next(words))
                frames = np.array([float(value) for value in words]).reshape(count, -1)
        return Bvh(names, parents, np.array(offsets), channels, frames, frame_s)

    def positions(self, frame: int) -> np.ndarray:
        """Compute world positions (21, 3), one matrix after the other."""
        values = iter(self.frames[frame])
        rotations, positions = [], []
        for joint, parent in enumerate(self.parents):
            rotation = np.eye(3) if parent < 0 else rotations[parent]
            position = self.offsets[joint]
            position = position if parent < 0 else positions[parent] + rotations[parent] @ position
            for channel in self.channels[joint]:
                value, axis = next(values), "XYZ".index(channel[0])
                if channel.endswith("position"):
                    position = position + np.eye(3)[axis] * value
                else:
                    rotation = rotation @ Rotation.from_rotvec(np.eye(3)[axis] * np.radians(value)).as_matrix()
            rotations.append(rotation)
            positions.append(position)
        return np.array(positions)


def test_bvh_brings_the_keypoints_back(recorded_folder: Path, tmp_path: Path) -> None:
    made = {animation.path.stem: animation for animation in animate(recorded_folder, ["bvh"], tmp_path)}
    assert sorted(made) == ["left", "right"]
    for track in read_tracks(recorded_folder):
        bvh = Bvh.read(made[track.name].path.read_text())
        assert bvh.names[:3] == ["wrist", "thumb_1", "thumb_2"]
        assert bvh.frame_s == pytest.approx(0.1)
        assert len(bvh.frames) == COUNT
        errors = []
        for key, at_s in enumerate(track.times_s):
            wanted = (track.keypoints_m[key] + track.wrists_m[key]) * GLTF * 1000
            errors.append(np.linalg.norm(bvh.positions(round(at_s * 10)) * 10 - wanted, axis=1))
        assert np.max([error[0] for error in errors]) < 0.01, "the wrist is exact"
        assert np.mean(errors) < 2.0
        assert np.max(errors) < 8.0


def test_hands_that_come_later_are_in_step(tmp_path: Path) -> None:
    """The right hand is there from the beginning, the left one from frame 7 on, at a time between two frames."""
    recording = Recording(tmp_path / "late", reserve_bytes=0)
    for number in range(20):
        hands = [posed(number / 10, side) for side in ("right", "left") if side == "right" or number >= 7]
        frame = Frame(number, np.zeros((4, 4, 3), np.uint8), 40.0 * number + (13.0 if number == 7 else 0.0))
        recording.add_result(timed_result_of(FrameResult(frame, "final", hands=tuple(hands)), "x"), 0.0)
    recording.close()
    made = {animation.path.stem: animation for animation in animate(recording.folder, ["bvh"])}
    right, left = (Bvh.read(made[side].path.read_text()) for side in ("right", "left"))
    assert (len(right.frames), len(left.frames)) == (20, 20)
    assert right.frame_s == left.frame_s == pytest.approx(0.04)
    (track,) = [track for track in read_tracks(recording.folder) if track.name == "left"]
    for number in range(20):
        seen = max(number - 7, 1)  # frame 8 is the first one on the grid
        wanted = (track.keypoints_m[seen] + track.wrists_m[seen]) * GLTF * 100
        np.testing.assert_allclose(left.positions(number)[0], wanted[0], atol=0.002)
    np.testing.assert_array_equal(left.frames[:8], np.tile(left.frames[8], (8, 1)))


def test_bvh_of_a_skeleton_with_fixed_lengths_is_exact(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "stiff", reserve_bytes=0)
    for number in range(5):
        hand = posed(0, "right")
        rotation = Rotation.from_rotvec([0.2 * number, 0.5, -0.3 * number]).as_matrix()
        keypoints = hand.keypoints_m @ rotation.T
        # A finger that bends about an axis of its own, with its bones as long as they were.
        bend = Rotation.from_rotvec(rotation @ [-0.2 * number, 0, 0]).as_matrix()
        keypoints[6:9] = keypoints[5] + (keypoints[6:9] - keypoints[5]) @ bend.T
        hand = HandMesh(**{**vars(hand), "keypoints_m": keypoints})
        frame = Frame(number, np.zeros((4, 4, 3), np.uint8), 40.0 * number)
        recording.add_result(timed_result_of(FrameResult(frame, "final", hands=(hand,)), "x"), 0.0)
    recording.close()
    (made,) = animate(recording.folder, ["bvh"])
    (track,) = read_tracks(recording.folder)
    bvh = Bvh.read(made.path.read_text())
    for key in range(5):
        wanted = (track.keypoints_m[key] + track.wrists_m[key]) * GLTF * 100
        np.testing.assert_allclose(bvh.positions(key), wanted, atol=0.002)


def test_command_writes_all_and_states_errors(
    recorded_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["animate", str(recorded_folder), "--glb", "--bvh", "--csv", "--out", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "hands.glb",
        "keypoints.csv",
        "left.bvh",
        "right.bvh",
    ]
    assert (tmp_path / "new" / "keypoints.csv").read_bytes() == (recorded_folder / "keypoints.csv").read_bytes()
    assert capsys.readouterr().out.count("mm from the record on average") == 4


def test_what_is_no_recording_is_a_message(
    tmp_path: Path, recorded_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["animate", str(tmp_path)]) == 1
    assert "no recording" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["animate", str(recorded_folder), "--out", str(tmp_path / "file")]) == 1
    assert "cannot be made" in capsys.readouterr().err


def test_recording_without_hands_or_of_other_hands_is_a_message(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "empty", reserve_bytes=0)
    recording.close()
    with raises(ErrorCode.NO_HANDS):
        animate(recording.folder, ["bvh"])
    other = Recording(tmp_path / "other", reserve_bytes=0)
    hand = HandMesh(**{**vars(posed(0, "right")), "vertices_m": np.zeros((3, 3)), "vertex_std_mm": np.ones(3)})
    frame = Frame(0, np.zeros((4, 4, 3), np.uint8), 0.0)
    other.add_result(timed_result_of(FrameResult(frame, "final", hands=(hand,)), "x"), 0.0)
    other.close()
    with raises(ErrorCode.MODEL_MISMATCH):
        animate(other.folder, ["glb"])
