"""Files from elsewhere, damaged in every way that hypothesis thinks of: a value or a HandvizError, nothing else."""

import contextlib
import functools
import io
import json
import math
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from handviz.cli import mano as mano_command
from handviz.cluster.shards import SHARDS_FOLDER, Shard, ShardedRun, complete_shards
from handviz.core.camera_files import (
    camera_model_from_text,
    camera_model_text,
    hand_size_from_text,
    hand_size_text,
    opencv_text,
    read_camera_file,
)
from handviz.core.camera_model import CameraModel, HandSize, camera_model_of_intrinsics
from handviz.core.errors import HandvizError
from handviz.core.json_files import read_json
from handviz.core.records import Frame, FrameResult, Intrinsics
from handviz.data.datasets.hanco_files import read_flags
from handviz.data.datasets.json_arrays import read_number_lists
from handviz.data.synthetic.generator import read_manifest
from handviz.evaluation.held_out import HELD_OUT_FILE, read_held_out
from handviz.evaluation.tables import Result, as_json, read_results
from handviz.gui.session.setting_values import checked, written
from handviz.gui.session.settings import (
    LIMITS,
    PLACES,
    SettingsStore,
    ViewSettings,
    changed,
    flat,
)
from handviz.hand_models.mano.inert_pickle import array_from, load_records
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.mano.parameters import ManoParameters
from handviz.inspection.columns import GROUND_TRUTH_NAME
from handviz.inspection.ground_truth import load_ground_truth
from handviz.io.hand_pack import pack_hands, unpack_hands
from handviz.io.hands_json import image_entry, unreadable_entry, write_report
from handviz.io.mano import ManoRecord, read_mano, write_mano
from handviz.io.recording.recorded import read_tracks
from handviz.io.recording.recording import ABOUT, LINES, Recording
from handviz.io.recording.timed_results import timed_result_of
from handviz.models.amvur.training_checkpoint import calibration_metadata
from handviz.pipeline.image_request import ImageRequest
from handviz.sources.rig import read_rig
from handviz.training.checkpoint import parsed_notes
from tests.fake_datasets.stand_in_mano import right_arrays, stand_in_template
from tests.foreign import FEW, damaged, damaged_json
from tests.hands import made_up_detection, made_up_hand


@contextlib.contextmanager
def file_of(content: bytes | str, name: str = "file") -> Iterator[Path]:
    """Write the content into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        yield path


def value_of(read: Callable[[], object]) -> object | None:
    """Return what was read; None for a HandvizError. Any other exception fails the test."""
    with contextlib.suppress(HandvizError):
        return read()
    return None


# Pickles.

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(4, dtype=np.uint32), "c": sparse.csc_matrix(np.eye(3))}
ARRAY_SHAPES = {"a": (2, 3), "b": (4,), "c": (3, 3)}


@FEW
@given(st.sampled_from((0, 2, 4)).flatmap(lambda protocol: damaged(pickle.dumps(ARRAYS, protocol=protocol))))
def test_a_damaged_pickle(content: bytes) -> None:
    with file_of(content) as path:
        records = value_of(lambda: load_records(path))
    assert records is None or isinstance(records, dict)
    for name, value in (records or {}).items():
        shape = ARRAY_SHAPES.get(name, (2, 3))
        with contextlib.suppress(ValueError):
            assert array_from(value, shape).shape == shape


MANO = right_arrays()
STRANGE_ARRAYS = (None, 0, "x", [], {}, np.zeros(0), np.zeros((778, 3), object), np.array(["a"]), sparse.eye(3).tocsr())


@settings(FEW, max_examples=25)
@given(
    st.sampled_from(sorted(MANO)),
    st.one_of(st.sampled_from(STRANGE_ARRAYS), st.sampled_from((math.nan, math.inf, -1.0, 0.0, 1e9, 1e300))),
)
def test_a_mano_file_with_another_value_in_it(name: str, other: object) -> None:
    if isinstance(other, float):
        array = np.array(MANO[name].toarray() if sparse.issparse(MANO[name]) else MANO[name])
        if array.dtype.kind not in "fu":
            return
        number, other = other, array.astype(float)
        other.flat[0] = number
    with file_of(pickle.dumps(MANO | {name: other}, protocol=2), "MANO_RIGHT.pkl") as path:
        template = value_of(lambda: load_mano(path))
    assert template is None or np.isfinite(template.vertices_m).all()


# Cameras.

CALIBRATED = camera_model_of_intrinsics(Intrinsics(600.0, 320.0, 240.0, 610.0, origin="calibrated"), (640, 480))
CAMERA_MODELS = (CameraModel(), CameraModel("angle", 70.0), CALIBRATED)


@FEW
@given(
    st.one_of(
        st.text(max_size=200),
        *(damaged_json(json.loads(camera_model_text(model))) for model in CAMERA_MODELS),
        damaged(opencv_text(CALIBRATED).encode()).map(lambda content: content.decode("latin1")),
    )
)
def test_a_damaged_camera(text: str) -> None:
    model = value_of(lambda: camera_model_from_text(text))
    if model is not None:
        assert value_of(lambda: camera_model_from_text(camera_model_text(model))) == model
    with file_of(text) as path:
        read = value_of(lambda: read_camera_file(path))
    assert read is None or isinstance(read, CameraModel)


@FEW
@given(damaged_json(json.loads(hand_size_text(HandSize("breadth", 85.0, 2.0)))))
def test_a_damaged_hand_size(text: str) -> None:
    size = value_of(lambda: hand_size_from_text(text))
    assert size is None or isinstance(size, HandSize)


# Settings.


def assert_possible(found: ViewSettings) -> None:
    for name, value in flat(found).items():
        assert type(value) is type(flat(ViewSettings())[name])
        assert checked(PLACES[name][1], LIMITS.get(name), written(value)) == value


FORMER_SETTINGS = r"""[memory]
last_source="a, b; \"c\" \xe9\x20ac.mp4"
window_geometry=@ByteArray(AdnQywAD)

[view]
camera_model="{\"mode\": \"angle\", \"field_of_view_deg\": 72.0}"
opacity=0.5
skeleton=true
"""


@functools.cache
def settings_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        store = SettingsStore(Path(folder))
        store.save(changed(ViewSettings(), camera_model=CALIBRATED, opacity=0.5))
        return store.path.read_bytes()


@FEW
@given(st.data())
def test_damaged_settings(data: st.DataObject) -> None:
    with file_of(data.draw(damaged(settings_bytes())), "handviz.json") as path:
        assert_possible(SettingsStore(path.parent).load())


@FEW
@given(st.data())
def test_settings_with_other_content(data: st.DataObject) -> None:
    with file_of(data.draw(damaged_json(json.loads(settings_bytes()))), "handviz.json") as path:
        store = SettingsStore(path.parent)
        assert_possible(store.load())
        store.save(ViewSettings())
        assert SettingsStore(path.parent).load() == ViewSettings()


@FEW
@given(damaged(FORMER_SETTINGS.encode()))
def test_damaged_settings_of_qt(content: bytes) -> None:
    with file_of(content, "handviz.ini") as path:
        assert_possible(SettingsStore(path.parent).load())


@FEW
@given(
    st.sampled_from(sorted(PLACES)),
    st.one_of(st.text(st.characters(exclude_characters="\0\r\n"), max_size=40), st.sampled_from(("nan", "inf", "-1"))),
)
def test_settings_with_another_value(name: str, value: str) -> None:
    with file_of(f"[view]\n{name}={value}\n".encode("utf-8", "replace"), "handviz.ini") as path:
        assert_possible(SettingsStore(path.parent).load())


# Recordings.


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames with a hand each."""
    made = Recording(tmp_path_factory.mktemp("recordings") / "first", reserve_bytes=0)
    for number in range(3):
        frame = Frame(number, np.zeros((48, 64, 3), np.uint8), 100.0 * number)
        made.add_result(timed_result_of(FrameResult(frame, "final", hands=(made_up_hand(),)), "clip.mp4"), number / 10)
    made.close()
    assert len(read_tracks(made.folder)[0].times_s) == 3
    return made.folder


@FEW
@given(st.data())
def test_a_damaged_recording(recording: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(recording, Path(folder) / "copy"))
        name = data.draw(st.sampled_from((LINES, ABOUT)))
        content = (copy / name).read_bytes()
        first, _, rest = content.partition(b"\n") if name == LINES else (content, b"", b"")
        way = data.draw(st.sampled_from(("bytes", "values")))
        if way == "bytes":
            (copy / name).write_bytes(data.draw(damaged(content)))
        else:
            (copy / name).write_bytes(data.draw(damaged_json(json.loads(first))).encode() + b"\n" + rest)
        for track in value_of(lambda: read_tracks(copy)) or ():
            assert np.isfinite(track.keypoints_m).all()
            assert (np.diff(track.times_s) > 0).all()


# Lists of numbers, stored hands, ground truth, MANO's parameters.

NUMBER_LISTS = json.dumps(np.arange(12.0).reshape(2, 2, 3).tolist()).encode()


@FEW
@given(st.one_of(damaged(NUMBER_LISTS), damaged_json(json.loads(NUMBER_LISTS)).map(str.encode)))
def test_damaged_lists_of_numbers(content: bytes) -> None:
    with file_of(content) as path:
        numbers = value_of(lambda: read_number_lists(path, (2, 3), "Download it again."))
    assert numbers is None or numbers.shape[1:] == (2, 3)
    if numbers is not None:
        with contextlib.suppress(ValueError, OverflowError):
            np.testing.assert_array_equal(numbers, np.array(json.loads(content), float).reshape(-1, 2, 3))


PACKED = pack_hands((made_up_hand(),), (made_up_detection(),))


@FEW
@given(damaged(PACKED))
def test_damaged_stored_hands(content: bytes) -> None:
    hands, detections = value_of(lambda: unpack_hands(content)) or ((), ())
    assert len(hands) == len(detections)


def with_numbers(text: str) -> bytes:
    """Return the stored hands with another JSON beside their arrays."""
    with np.load(io.BytesIO(PACKED)) as file:
        arrays = {name: file[name] for name in file.files}
    stream = io.BytesIO()
    np.savez(stream, **arrays | {"numbers": np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)})
    return stream.getvalue()


def stored_numbers() -> dict[str, object]:
    with np.load(io.BytesIO(PACKED)) as file:
        return dict(json.loads(file["numbers"].tobytes()))


@FEW
@given(damaged_json(stored_numbers()))
def test_stored_hands_with_other_values(text: str) -> None:
    value_of(lambda: unpack_hands(with_numbers(text)))


TRUTH = [{"file": "a.png", "hands": [{"handedness": "left", "keypoints_camera_m": (np.eye(21, 3) / 9).tolist()}]}]


@FEW
@given(st.one_of(damaged(json.dumps(TRUTH).encode()), damaged_json(TRUTH).map(str.encode)))
def test_damaged_ground_truth(content: bytes) -> None:
    with file_of(content, GROUND_TRUTH_NAME) as path:
        truth = value_of(lambda: load_ground_truth(path.parent))
    for hands in (truth or {}).values():
        assert all(np.isfinite(hand.keypoints_m).all() for hand in hands)


@functools.cache
def mano_content(form: str, suffix: str) -> bytes:
    parameters = ManoParameters("right", "absolute", *(np.full(size, 0.1) for size in (45, 10, 3, 3)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"hands{suffix}"
        write_mano(path, [ManoRecord("a.jpg", 0, parameters, 0.25, 1.5, "vertices")], stand_in_template(), form)
        return path.read_bytes()


@pytest.mark.parametrize("form", ["absolute", "six_d", "matrices"])
@FEW
@given(st.data())
def test_damaged_mano_parameters(form: str, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from((".json", ".npz")))
    content = mano_content(form, suffix)
    if suffix == ".json" and data.draw(st.booleans()):
        content = data.draw(damaged_json(json.loads(content))).encode()
    else:
        content = data.draw(damaged(content))
    with file_of(content, f"hands{suffix}") as path:
        found = value_of(lambda: read_mano(path, stand_in_template()))
    for record in found[0] if found else ():
        assert np.isfinite(record.parameters.pose).all()


# Lists of reconstructed hands, results, manifests, notes: each writer's content is read, and every damage to it.


def hands_json() -> bytes:
    """Return a ``hands.json`` of an image with two hands and one that could not be read."""
    hands = (made_up_hand(), made_up_hand(handedness="left"))
    detections = (made_up_detection(), made_up_detection("left"))
    frame = Frame(0, np.zeros((48, 64, 3), np.uint8), 0.0)
    result = FrameResult(frame, "final", hands=hands, detections=detections)
    entries = [image_entry("a.png", result, hands[0].intrinsics, (None, "a_1.ply")), unreadable_entry("b.png", "odd")]
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder) / "hands.json", entries)
        return (Path(folder) / "hands.json").read_bytes()


def truth_of(path: Path) -> object:
    """Read the file as the ground truth of its folder."""
    shutil.copy(path, path.with_name(GROUND_TRUTH_NAME))
    return load_ground_truth(path.parent)


def notes_of(path: Path) -> object:
    """Read the file as the notes of a checkpoint."""
    return calibration_metadata(parsed_notes(path, path.read_text(encoding="utf-8", errors="surrogateescape")))


def shard_of(path: Path) -> object:
    """Read the file as the record of a shard."""
    path.parent.joinpath(SHARDS_FOLDER).mkdir()
    shutil.copy(path, Shard(1, 1).path(path.parent).with_suffix(".json"))
    return complete_shards(ShardedRun(path.parent, path.parent, ImageRequest()), 1, {"images": 3})


RESULT = Result(Path("official.json"), "ho3d_v2_final", "x", "ho3d", "test", 5, 9, {"root_f5": 0.5}, "450 steps")
MANIFEST = {"generator_version": 2, "seed": 7, "count": 8, "shard_size": 4, "hidden": [0.0, 0.5], "hand_model": "ab"}
MANIFEST |= {"views": 2}
NOTES = {"samples_seen": 3, "train": {"loss": {"vertex_correlation": 0.5}}, "vertex_variance_scale": 1.25, "x": None}
DONE = {"images": 3, "hands": 2, "unreadable": 1, "errors": ["b.png: odd"], "sha256": "ab"}
META = {"is_train": [[1, 0], [1]], "is_valid": [[True, False], [True]], "has_fit": [[True, True], [False]]}
RIG = {
    "format": "handviz rig",
    "version": 1,
    "views": [
        {
            "name": name,
            "source": f"{name}.mp4",
            "intrinsics": {
                "image_width": 640,
                "image_height": 480,
                "camera_matrix": [[600.0, 0, 320], [0, 610.0, 240], [0, 0, 1]],
                "distortion": [0.1, 0.0, 0.0, 0.0],
            },
            "camera_from_world": {"rotation": np.eye(3).tolist(), "translation_m": [0.1, 0.0, 0.5]},
            "time_offset_ms": 3.5,
        }
        for name in ("left", "right")
    ],
}
READERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "hands.json": (hands_json(), lambda path: read_json(path, list[mano_command._Image], "make it again")),
    "truth.json": (hands_json(), truth_of),
    "official.json": (as_json(RESULT, {"root_f5": (0.4, 0.6)}), lambda path: read_results(path.parent)),
    "held_out.json": (HELD_OUT_FILE.read_bytes(), read_held_out),
    "manifest.json": (json.dumps(MANIFEST).encode(), read_manifest),
    "notes.json": (json.dumps(NOTES).encode(), notes_of),
    "record.json": (json.dumps({"header": {"images": 3}, "done": DONE}).encode(), shard_of),
    "RIG.json": (json.dumps(RIG).encode(), read_rig),
    "meta.json": (json.dumps(META).encode(), read_flags),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_written_is_read(name: str) -> None:
    content, read = READERS[name]
    with file_of(content, name) as path:
        assert read(path)


@pytest.mark.parametrize("name", READERS)
@settings(FEW, max_examples=40)
@given(st.data())
def test_damaged_json_of_our_own(name: str, data: st.DataObject) -> None:
    content, read = READERS[name]
    tree = json.loads(content)
    changed = data.draw(st.one_of(damaged(content), damaged_json(tree).map(lambda text: text.encode())))
    with file_of(changed, name) as path:
        value_of(lambda: read(path))
