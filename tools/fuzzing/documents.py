"""Doors of text files, arrays, pickles, recordings, settings and stores."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handviz.cli import mano as mano_command
from handviz.cluster.shards import SHARDS_FOLDER, Shard, ShardedRun, complete_shards, entries_of
from handviz.core.camera_files import camera_model_text, opencv_text, read_camera_file
from handviz.core.camera_model import CameraModel, HandSize, camera_model_of_intrinsics
from handviz.core.files import read_arrays
from handviz.core.json_files import read_json
from handviz.core.paths import HELD_OUT_FILE, LANDMARKER_FILE, PALM_FILE
from handviz.core.records import Frame, FrameResult, Intrinsics
from handviz.data.synthetic import generator
from handviz.data.synthetic.dataset import read_shard, shard_numbers
from handviz.detection.detector_files import check_graph, check_task_file
from handviz.evaluation.held_out import read_held_out
from handviz.hand_models.mano.inert_pickle import load_records
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.mano.parameters import ManoParameters
from handviz.inspection.columns import GROUND_TRUTH_NAME, HandRow, ImageRow
from handviz.inspection.ground_truth import load_ground_truth
from handviz.inspection.store import InspectionStore, Signature, StoredImage
from handviz.io.hand_pack import pack_hands, unpack_hands
from handviz.io.hands_json import image_entry, unreadable_entry, write_report
from handviz.io.mano import ManoRecord, PoseForm, read_mano, write_mano
from handviz.io.mesh_io import MeshArrays, ply_bytes, read_ply
from handviz.io.recording.animate import animate
from handviz.io.recording.recorded import read_tracks
from handviz.io.recording.recording import Recording
from handviz.io.recording.timed_results import timed_result_of
from handviz.pipeline.image_request import ImageRequest, listed_images
from tests.fake_datasets.stand_in_mano import right_arrays, stand_in_template
from tests.hands import made_up_detection, made_up_hand, textured_hand
from tools.fuzzing.door import Door, check, check_finite

CALIBRATED = camera_model_of_intrinsics(Intrinsics(600.0, 320.0, 240.0, 610.0, origin="calibrated"), (640, 480))
HANDS = (made_up_hand(), made_up_hand(handedness="left"))
DETECTIONS = (made_up_detection(), made_up_detection("left"))
IMAGES_OF_SHARD = 3
BIG_TASK_MEMBER = 20_000


def write_cameras(folder: Path) -> None:
    """Write cameras as handviz and OpenCV do."""
    for number, model in enumerate((CameraModel(), CameraModel("angle", 70.0), CALIBRATED)):
        (folder / f"camera{number}.json").write_text(camera_model_text(model))
    (folder / "camera.yml").write_text(opencv_text(CALIBRATED))
    rows = "<rows>3</rows><cols>3</cols><dt>d</dt><data>600. 0. 320. 0. 610. 240. 0. 0. 1.</data>"
    sizes = "<image_width>640</image_width><image_height>480</image_height>"
    camera = f'<camera_matrix type_id="opencv-matrix">{rows}</camera_matrix>'
    (folder / "camera.xml").write_text(f'<?xml version="1.0"?><opencv_storage>{sizes}{camera}</opencv_storage>')
    matrix = {"type_id": "opencv-matrix", "rows": 3, "cols": 3, "dt": "d", "data": [600, 0, 320, 0, 610, 240, 0, 0, 1]}
    opencv = {"image_width": 640, "image_height": 480, "camera_matrix": matrix}
    (folder / "opencv.json").write_text(json.dumps(opencv))


def read_camera(path: Path) -> None:
    """Read a camera; focal lengths and centre must be finite."""
    known = read_camera_file(path).known
    if known is not None:
        check_finite(known.matrix, "the camera")


def write_hands_json(folder: Path) -> None:
    """Write the list of an image with two hands and of one that could not be read."""
    result = FrameResult(Frame(0, np.zeros((48, 64, 3), np.uint8), 0.0), "final", hands=HANDS, detections=DETECTIONS)
    entries = [image_entry("a.png", result, HANDS[0].intrinsics, (None, "a_1.ply")), unreadable_entry("b.png", "odd")]
    write_report(folder / GROUND_TRUTH_NAME, entries)


def read_hands_json(path: Path) -> None:
    """Read the list as ground truth and as the input of ``handviz mano``."""
    for hands in load_ground_truth(path.parent).values():
        for hand in hands:
            check_finite(hand.keypoints_m, "a keypoint")
    read_json(path, list[mano_command._Image], "make it again")


def write_mano_parameters(folder: Path) -> None:
    """Write MANO's parameters in every form that handviz writes."""
    pose, shape, rotation, translation_m = (np.full(size, 0.1) for size in (45, 10, 3, 3))
    parameters = ManoParameters("right", "absolute", pose, shape, rotation, translation_m)
    records = [ManoRecord("a.jpg", 0, parameters, 0.25, 1.5, "vertices")]
    forms: tuple[PoseForm, ...] = ("absolute", "six_d", "matrices")
    for form in forms:
        for suffix in ("json", "npz"):
            write_mano(folder / f"{form}.{suffix}", records, stand_in_template(), form)


def read_mano_parameters(path: Path) -> None:
    """Read MANO's parameters, which must be finite."""
    for record in read_mano(path, stand_in_template())[0]:
        check_finite(record.parameters.pose, "a pose")
        check_finite(record.parameters.shape, "a shape")


def write_mano_files(folder: Path) -> None:
    """Write what stands in for MANO_RIGHT.pkl."""
    (folder / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(right_arrays(), protocol=2))


def read_mano_file(path: Path) -> None:
    """Read a hand model, whose vertices must be finite."""
    check_finite(load_mano(path).vertices_m, "a vertex")


def write_pickles(folder: Path) -> None:
    """Write small pickles, as HO-3D's annotations are."""
    values = {
        "handPose": np.zeros(48),
        "objName": "x",
        "handJoints3D": np.ones((21, 3)),
        "camMat": np.eye(3),
        "n": None,
    }
    for protocol in (0, 2, 4):
        (folder / f"{protocol}.pkl").write_bytes(pickle.dumps(values, protocol=protocol))


def write_arrays(folder: Path) -> None:
    """Write arrays by numpy, plain and compressed."""
    arrays: dict[str, Any] = {"a": np.arange(60.0).reshape(20, 3), "b": np.zeros(5, np.uint8), "c": np.array("text")}
    np.savez(folder / "plain.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)


def read_ply_file(path: Path) -> None:
    """Read a mesh, whose vertices must be finite and whose faces must name vertices."""
    vertices, faces = read_ply(path)
    check_finite(vertices, "a vertex")
    check(not faces.size or (faces.min() >= 0 and faces.max() < len(vertices)), "a face of vertices that do not exist")


def write_ply(folder: Path) -> None:
    """Write a mesh of four triangles."""
    vertices, faces = np.random.default_rng(0).random((4, 3)), np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    mesh = MeshArrays(vertices, faces.astype(np.int32), vertices, vertices, np.full(4, 5.0))
    (folder / "mesh.ply").write_bytes(ply_bytes(mesh))


def write_text(name: str, text: str) -> Callable[[Path], object]:
    """Return the writer of one file."""
    return lambda folder: (folder / name).write_text(text)


def write_recording(folder: Path) -> None:
    """Write six frames with a hand each."""
    made = Recording(folder / "recording", with_video=False, reserve_bytes=0)
    for number in range(6):
        frame = Frame(number, np.zeros((48, 64, 3), np.uint8), 100.0 * number)
        result = FrameResult(frame, "final", hands=(textured_hand(wrist_px=(150.0 + number, 220.0)),))
        made.add_result(timed_result_of(result, "clip.mp4"), number / 10)
    made.close()


def read_recording(folder: Path) -> None:
    """Read all tracks and write every animation of them."""
    recording, out = folder / "recording", folder.with_name("animation")
    for track in read_tracks(recording):
        check_finite(track.keypoints_m, "a keypoint")
        check((np.diff(track.times_s) > 0).all(), "times that do not increase")
    out.mkdir(exist_ok=True)
    animate(recording, ("glb", "bvh", "csv"), out)


def write_shards(folder: Path) -> None:
    """Write a complete shard of three images."""
    (folder / SHARDS_FOLDER).mkdir()
    path = Shard(1, 1).path(folder)
    path.write_text("".join(json.dumps(unreadable_entry(f"{n}.png", "odd")) + "\n" for n in range(IMAGES_OF_SHARD)))
    done = {"images": IMAGES_OF_SHARD, "hands": 0, "unreadable": 3, "errors": ["0.png: odd"], "sha256": "ab"}
    path.with_suffix(".json").write_text(json.dumps({"header": {"images": 3}, "done": done}))


def read_shards(folder: Path) -> None:
    """Read the record and the entries of a run's shards."""
    run = ShardedRun(folder, folder, ImageRequest())
    for result in complete_shards(run, 1, {"images": IMAGES_OF_SHARD}):
        entries = list(_entries(folder, result))
        check(all(isinstance(entry, dict) for entry in entries), "an entry that is no object")


def _entries(folder: Path, result: Any) -> Any:
    from handviz.core.errors import ErrorCode, HandvizError

    try:
        yield from entries_of(folder, result)
    except HandvizError as error:
        if error.code != ErrorCode.CHECKSUM:
            raise


def write_rendered(folder: Path) -> None:
    """Write a shard of two crops, with its manifest, as ``handviz synthesize`` does."""
    list(generator.render(generator.Plan(folder, 5, 2), 1))


def read_rendered(folder: Path) -> None:
    """Read the manifest and every shard."""
    for number in shard_numbers(folder):
        shard = read_shard(folder, number)
        for name, values in shard.labels.items():
            check_finite(values, name)


def write_settings(folder: Path) -> None:
    """Write settings that are not the usual ones."""
    from handviz.gui.session.settings import SettingsStore, ViewSettings, changed

    size = HandSize("breadth", 85.0)
    SettingsStore(folder).save(changed(ViewSettings(), camera_model=CALIBRATED, opacity=0.5, hand_size=size))


def read_settings(folder: Path) -> None:
    """Load the settings, which must be of their fields' types and within their limits."""
    from handviz.gui.session.setting_values import checked, written
    from handviz.gui.session.settings import LIMITS, PLACES, SettingsStore, flat

    for name, value in flat(SettingsStore(folder).load()).items():
        again = checked(PLACES[name][1], LIMITS.get(name), written(value))
        check(again == value, f"{name} is no value of its field")
    for name in os.listdir(folder):  # backups of damaged files
        if name != "handviz.ini" and not name.endswith(".json"):
            (folder / name).unlink()


def write_store(folder: Path) -> None:
    """Write the stored results of three images."""
    packed = pack_hands(HANDS[:1], DETECTIONS[:1])
    with InspectionStore(folder / "store.sqlite") as store:
        for number in range(3):
            row = ImageRow(f"{number}.png", "done", (HandRow(1, "right", 0.9, 5.0, 6.0, 1.0),), "", 64, 48)
            store.put(StoredImage(Signature(1, 2), row, np.zeros((1, 21, 3))), packed)


def read_store(path: Path) -> None:
    """Read all rows and all hands, and store one."""
    with InspectionStore(path) as store:
        images = store.known()
        for image in images:
            packed = store.packed(image.row.file)
            if packed is not None:
                unpack_hands(packed)
        row = ImageRow("new.png", "done", (), "", 64, 48)
        store.put(StoredImage(Signature(1, 2), row, np.zeros((0, 21, 3))), b"")


def read_pack(path: Path) -> None:
    """Unpack stored hands, whose arrays must be finite."""
    hands, detections = unpack_hands(path.read_bytes())
    check(len(hands) == len(detections), "hands without detections")
    for hand in hands:
        check_finite(hand.vertices_m, "a vertex")


def write_list(folder: Path) -> None:
    """Write a list of images, and the images."""
    names = [f"image {number}.png" for number in range(4)]
    for name in names:
        (folder / name).write_bytes(b"")
    (folder / "list.txt").write_text("\n".join(names) + "\n")


def read_list(folder: Path) -> None:
    """Read the list of images."""
    images = list(listed_images(folder / "list.txt", recursive=False, leave_out=folder / "out"))
    check(len({image.stem for image in images}) == len(images), "two images whose results have the same name")


def write_task(folder: Path) -> None:
    """Write a task file with the members' beginnings: the whole one has eight megabytes."""
    import zipfile

    with zipfile.ZipFile(LANDMARKER_FILE) as archive, zipfile.ZipFile(folder / "hand.task", "w") as short:
        for name in archive.namelist():
            short.writestr(zipfile.ZipInfo(name), archive.read(name)[:BIG_TASK_MEMBER])


def write_graph(folder: Path) -> None:
    """Copy the palm detector's graph."""
    (folder / PALM_FILE.name).write_bytes(PALM_FILE.read_bytes())


def write_recipes(folder: Path) -> None:
    """Copy the recipes that handviz ships."""
    from handviz.evaluation.recipes import FOLDER

    for path in sorted(FOLDER.glob("*.toml"))[:3]:
        shutil.copyfile(path, folder / path.name)


def read_recipe(path: Path) -> None:
    """Load a recipe and make the training's config of it."""
    from handviz.evaluation.recipes import load_recipe

    recipe = load_recipe(str(path))
    recipe.config(("rendered",), path.parent, camera_prior=path if recipe.needs_camera_prior else None)


DOORS = (
    Door("cameras", write_cameras, read_camera, splices_all=True),
    Door("hands_json", write_hands_json, read_hands_json),
    Door("mano_parameters", write_mano_parameters, read_mano_parameters),
    Door("mano_files", write_mano_files, read_mano_file),
    Door("pickles", write_pickles, load_records),
    Door("arrays", write_arrays, lambda path: read_arrays(path, "make it again")),
    Door("hand_packs", lambda folder: (folder / "hands.npz").write_bytes(pack_hands(HANDS, DETECTIONS)), read_pack),
    Door("held_out", write_text("held_out.json", HELD_OUT_FILE.read_text()), read_held_out),
    Door("meshes", write_ply, read_ply_file),
    Door("recordings", write_recording, read_recording, damaged="recording/*[!v]", is_folder=True),
    Door("shards", write_shards, read_shards, damaged=f"{SHARDS_FOLDER}/*", is_folder=True),
    Door("rendered_hands", write_rendered, read_rendered, is_folder=True),
    Door("settings", write_settings, read_settings, is_folder=True),
    Door("stores", write_store, read_store),
    Door("lists", write_list, read_list, damaged="*.txt", is_folder=True),
    Door("task_files", write_task, check_task_file),
    Door("detector_graphs", write_graph, lambda path: check_graph(path, LANDMARKER_FILE)),
    Door("recipes", write_recipes, read_recipe),
)
