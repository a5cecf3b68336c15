"""MANO files: a made-up file of MANO's keys and shapes in every pickle dialect, and malicious files."""

import io
import os
import pickle
import struct
import subprocess
import sys
import types
from dataclasses import fields, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import sparse

from handviz.core.errors import ErrorCode
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.mano.inert_pickle import MAX_FILE_BYTES, PickleLimits, Record, array_from, load_records
from handviz.hand_models.mano.model import FINGERS, load_mano
from tests.errors import raises

PARENTS = [4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
MIRROR = np.array([-1.0, 1.0, 1.0])


class Python2Pickler(pickle._Pickler):
    """A pickler that writes bytes as Python 2 wrote its strings, and numpy's old module names."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, content):
        self.write(b"T" + struct.pack("<i", len(content)) + content)

    dispatch[bytes] = save_bytes


def python_2(model):
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(model)
    content = buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    return content.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")


DIALECTS = {"python 2": python_2}
DIALECTS |= {f"protocol {number}": lambda m, n=number: pickle.dumps(m, protocol=n) for number in (0, 2, 4, 5)}


@pytest.fixture
def chumpy(monkeypatch):
    """Provide classes named as chumpy's, only while the file is written."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering", "chumpy.ops")}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("chumpy.ops", "add")):
        setattr(modules[module], name, type(name, (), {"__module__": module}))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    def make(kind, **state):
        module, name = kind.rsplit(".", 1)
        made = getattr(modules[f"chumpy.{module}"], name)()
        made.__dict__.update(state, _dirty_vars={"x"}, _itr=None)
        return made

    return make


@pytest.fixture
def model(chumpy):
    """Return the right hand's file: fingers along negative x, shape directions as chumpy's selection of twenty."""
    random = np.random.default_rng(5)
    vertices = random.normal(scale=0.02, size=(778, 3)) + np.linspace([0.1, 0, 0], [-0.1, 0, 0], 778)
    regressor = np.zeros((16, 778))
    for joint in range(16):
        regressor[joint, 40 * joint : 40 * joint + 3] = [0.5, 0.3, 0.2]
    weights = random.random((778, 16)) ** 8
    twenty = random.normal(scale=0.004, size=(778, 3, 20))
    ids = np.arange(twenty.size).reshape(twenty.shape)[:, :, :10].ravel()
    source = chumpy("ch.Ch", x=twenty)
    return {
        "hands_components": np.linalg.qr(random.normal(size=(45, 45)))[0],
        "f": random.integers(0, 778, size=(1538, 3)).astype(np.uint32),
        "J_regressor": sparse.csc_matrix(regressor),
        "kintree_table": np.array([PARENTS, range(16)], dtype=np.int64),
        "J": regressor @ vertices,
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "posedirs": np.asfortranarray(random.normal(scale=1e-3, size=(778, 3, 135))),
        "hands_mean": random.normal(scale=0.3, size=45),
        "v_template": vertices,
        "shapedirs": chumpy("reordering.Select", a=source, idxs=ids, preferred_shape=(778, 3, 10)),
        "hands_coeffs": random.normal(size=(1554, 45)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


@pytest.fixture
def written(tmp_path):
    def write(model, dialect="python 2"):
        path = tmp_path / "MANO.pkl"
        path.write_bytes(model if isinstance(model, bytes) else DIALECTS[dialect](model))
        return path

    return write


def shape_directions(model):
    select = model["shapedirs"]
    return select.a.x[:, :, :10]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_arrays_of_the_file(model, written, monkeypatch, dialect):
    path = written(model, dialect)
    for name in [name for name in sys.modules if name.startswith("chumpy")]:
        monkeypatch.delitem(sys.modules, name)
    template = load_mano(path)
    wrist = model["J"][0]
    np.testing.assert_allclose(template.vertices_m, model["v_template"] - wrist, atol=1e-7)
    np.testing.assert_allclose(template.shape_basis, shape_directions(model), atol=1e-7)
    np.testing.assert_allclose(template.pose_basis, model["posedirs"], atol=1e-7)
    np.testing.assert_allclose(template.skinning_weights, model["weights"], atol=1e-7)
    np.testing.assert_allclose(template.joint_regressor, model["J_regressor"].toarray(), atol=1e-7)
    np.testing.assert_array_equal(template.faces, model["f"])
    np.testing.assert_allclose(template.pose_mean, model["hands_mean"], atol=1e-6)
    np.testing.assert_allclose(template.pose_components, model["hands_components"], atol=1e-7)
    assert template.parents == (-1, *PARENTS[1:])
    assert template.full_from_coarse.shape == (778, 195)


def test_keypoints_come_in_the_projects_order(model, written):
    template = load_mano(written(model))
    keypoints = template.keypoint_regressor @ template.vertices_m
    joints = model["J"] - model["J"][0]
    np.testing.assert_allclose(keypoints[0], 0, atol=1e-7)
    np.testing.assert_allclose(keypoints[[1, 5, 9, 13, 17]], joints[[13, 1, 4, 10, 7]], atol=1e-6)
    tips = [tip for *_, tip in FINGERS]
    np.testing.assert_allclose(keypoints[[4, 8, 12, 16, 20]], template.vertices_m[tips])


def test_the_flat_hand_is_the_one_without_mean_pose(model, written):
    flat, curled = (load_mano(written(model), flat_hand_mean=flat) for flat in (True, False))
    assert not flat.pose_mean.any()
    assert flat.fingerprint != curled.fingerprint
    zero = (torch.zeros(1, 45), torch.zeros(1, 10))
    np.testing.assert_allclose(HandLayer(flat)(*zero).vertices_m[0], flat.vertices_m, atol=1e-6)
    assert (HandLayer(curled)(*zero).vertices_m[0] - torch.tensor(flat.vertices_m)).abs().max() > 1e-3


def left_of(model, *, repaired):
    """Return the mirror image of a right hand's file, shape directions as published or as they should be."""
    rotation_mirror = np.tile([1.0, -1.0, -1.0], 15)
    entries = np.tile(np.outer(MIRROR, MIRROR).ravel(), 15)
    return model | {
        "v_template": model["v_template"] * MIRROR,
        "J": model["J"] * MIRROR,
        "f": model["f"][:, ::-1].copy(),
        "posedirs": model["posedirs"] * MIRROR[:, None] * entries,
        "hands_mean": model["hands_mean"] * rotation_mirror,
        "hands_components": model["hands_components"] * rotation_mirror,
        "shapedirs": shape_directions(model) * (MIRROR[:, None] if repaired else 1.0),
    }


@pytest.mark.parametrize("repaired", [False, True])
def test_a_left_file_becomes_the_same_right_hand(model, written, repaired):
    right = load_mano(written(model))
    left = load_mano(written(left_of(model, repaired=repaired)), left_shapes_repaired=repaired)
    for field in fields(right):
        expected, found = getattr(right, field.name), getattr(left, field.name)
        if isinstance(expected, np.ndarray):
            np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=field.name)


def test_a_left_hand_skinned_as_itself_is_the_right_hand_in_a_mirror(model, written):
    right, left = load_mano(written(model)), left_of(model, repaired=True)
    as_itself = replace(
        right,
        vertices_m=right.vertices_m * MIRROR,
        shape_basis=left["shapedirs"],
        pose_basis=left["posedirs"],
        pose_mean=left["hands_mean"],
    )
    generator = torch.Generator().manual_seed(0)
    pose, shape = torch.randn(1, 45, generator=generator), torch.randn(1, 10, generator=generator)
    expected = HandLayer(right)(pose, shape).vertices_m * torch.tensor([-1.0, 1.0, 1.0])
    mirrored_pose = pose * torch.tensor([1.0, -1.0, -1.0]).repeat(15)
    torch.testing.assert_close(HandLayer(as_itself)(mirrored_pose, shape).vertices_m, expected, atol=1e-6, rtol=0)


class Harm:
    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


class WithState:
    def __setstate__(self, state):
        raise AssertionError("was run")

    def __getstate__(self):
        return {"x": 1}


def named(module, name, arguments=b"(tR"):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments


HOSTILE = {
    "posix.system": lambda mark: Harm(os.system, f"touch {mark}"),
    "builtins.eval": lambda mark: Harm(eval, f"open({str(mark)!r}, 'w')"),
    "builtins.getattr": lambda mark: Harm(getattr, "", "upper"),
    "Popen": lambda mark: Harm(subprocess.Popen, ["touch", str(mark)]),
    "WithState": lambda mark: WithState(),
    "numpy.testing._private.utils.runstring": lambda mark: Harm(np.testing.runstring, f"open({str(mark)!r}, 'w')", {}),
    "numpy.load": lambda mark: Harm(np.load, str(mark)),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore:.*runstring.*")
def test_harm_is_refused_by_name_and_not_run(model, written, tmp_path, name, protocol):
    mark = tmp_path / "mark"
    harm = HOSTILE[name](mark)
    contents = (harm, {**model, "J": harm}, {**model, "J": [{"deep": (harm,)}]})
    for content in contents:
        path = written(pickle.dumps(content, protocol=protocol))
        with raises(ErrorCode.UNSAFE_FILE, match=name.replace("builtins.", ".*builtin.*")):
            load_mano(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["numpy.f2py.run_main", "numpy.core.multiarray.fromfile", "scipy.sparse.csc.os", "antigravity.fly"]
)
def test_names_near_the_admitted_ones_are_refused_and_not_imported(written, name):
    module, function = name.rsplit(".", 1)
    before = set(sys.modules)
    with raises(ErrorCode.UNSAFE_FILE, match=name):
        load_records(written(b"\x80\x02" + named(module, function) + b"."))
    assert set(sys.modules) == before


def test_what_a_pickle_does_to_an_admitted_class_is_gone_after_the_load(written):
    before = dict(vars(Record))
    state = b"N}U\x04kindU\x04evils\x86b"
    with raises(ErrorCode.FILE_DAMAGED):
        load_records(written(b"\x80\x02" + named("numpy", "ndarray", b"") + state + b"."))
    assert dict(vars(Record)) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"a text, not a pickle", "damaged"),
        (b"\x80\x02]q\x00.", "list"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.", "damaged"),
        (b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"x.", "damaged"),
        (b"\x80\x02}r" + struct.pack("<I", 2**31 - 1) + b".", "memo index"),
        (b"\x80\x02}p99999999999\n.", "memo index"),
        (b"\x80\x02}r" + struct.pack("<I", 9) + b"0" * 20 + b".", "memo index"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pname\n.", "PERSID"),
        (b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".", "more parts"),
    ],
)
def test_broken_and_greedy_pickles_are_refused(written, content, message):
    with raises(ErrorCode.FILE_DAMAGED, ErrorCode.UNSAFE_FILE, match=message):
        load_records(written(content))


def test_a_reader_of_many_records_says_how_many_parts_it_takes(written):
    path = written(pickle.dumps({number: {"a": np.zeros(3)} for number in range(20)}, protocol=2))
    assert len(load_records(path)) == 20
    size = path.stat().st_size
    for limits in (PickleLimits(opcodes=100), PickleLimits(nodes=100)):
        with raises(ErrorCode.UNSAFE_FILE, match="more parts"):
            load_records(path, limits)
    assert len(load_records(path, PickleLimits(file_bytes=size))) == 20
    with raises(ErrorCode.TOO_LARGE):
        load_records(path, PickleLimits(file_bytes=size - 1))


def test_a_truncated_file_is_said_wherever_it_ends(model, written):
    content = python_2(model)
    for length in np.linspace(0, len(content) - 1, 23).astype(int):
        with raises(ErrorCode.FILE_DAMAGED):
            load_mano(written(content[:length]))


def test_a_missing_and_a_far_too_large_file_are_said(tmp_path):
    with raises(ErrorCode.FILE_UNREADABLE):
        load_mano(tmp_path / "none.pkl")
    path = tmp_path / "large.pkl"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with raises(ErrorCode.TOO_LARGE):
        load_mano(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights", None, "no 'weights'"),
        ("weights", np.zeros((778, 15)), r"\(778, 15\), expected \(778, 16\)"),
        ("weights", np.full((778, 16), "text", dtype=object), "not plain numbers"),
        ("weights", "text", "it is a str"),
        ("weights", np.full((778, 16), np.nan), "not finite"),
        ("J_regressor", sparse.csc_matrix((778, 16)), r"\(778, 16\), expected \(16, 778\)"),
        ("J_regressor", sparse.csc_matrix((16, 778)), "sum to 1"),
        ("kintree_table", np.full((2, 16), 7), "kintree_table"),
        ("f", np.full((1538, 3), 778, np.uint32), "faces"),
    ],
)
def test_wrong_contents_are_named(model, written, key, value, message):
    changed = {name: entry for name, entry in model.items() if name != key}
    if value is not None:
        changed[key] = value
    with raises(ErrorCode.FILE_DAMAGED, ErrorCode.MODEL_DAMAGED, ErrorCode.NOT_FINITE, match=message):
        load_mano(written(changed))


def test_an_unknown_chumpy_expression_is_named(model, chumpy, written):
    with raises(ErrorCode.FILE_DAMAGED, match=r"chumpy\.ops\.add"):
        load_mano(written({**model, "shapedirs": chumpy("ops.add", a=1)}))


def test_arrays_that_promise_more_than_they_hold_are_refused(written):
    honest = pickle.dumps({"a": np.zeros((3, 5))}, protocol=2)
    record = load_records(written(honest))["a"]
    assert array_from(record, (3, 5)).shape == (3, 5)
    version, _, dtype, fortran, data = record.state
    for shape in ((2**40, 2**20), (3, 6), (-3, -5), (3.0, 5)):
        record.__setstate__((version, shape, dtype, fortran, data))
        with pytest.raises(ValueError, match=r"bytes|whole numbers"):
            array_from(record, (3, 5))


DOUBLED = b")" + b"2\x86" * 60
"""An empty tuple paired with itself 60 times: 2 ** 60 tuples if anything walks through it."""


@pytest.mark.parametrize(
    "content",
    [
        DOUBLED,
        b"}" + DOUBLED + b"K\x01s",
        b"}" + b"(" + DOUBLED + b"K\x01" + b"u",
        b"]" + b"(" + DOUBLED + b"e",
        b")" + b"q\x00h\x00\x86" * 60,
        b"\x8f(" + DOUBLED + b"\x90",
        b")" + b"\x85" * 300_000,
        b"]" * 300_000 + b"a" * 299_999,
    ],
    ids=["tuple", "key", "keys", "list", "memo", "set", "deep tuples", "deep lists"],
)
def test_pickles_that_unfold_without_end_are_refused_before_they_are_built(written, content):
    with raises(ErrorCode.UNSAFE_FILE, match="more parts"):
        load_records(written(b"\x80\x04" + content + b"."))


def test_a_shape_that_is_no_shape_is_not_printed(written):
    record = load_records(written(pickle.dumps({"a": np.zeros((3, 5))}, protocol=2)))["a"]
    version, _, dtype, fortran, data = record.state
    for shape in ((10**5000, 1), ("x" * 100_000,), [3, 5], None, (True, 5), (1,) * 40):
        record.__setstate__((version, shape, dtype, fortran, data))
        with pytest.raises(ValueError, match="whole numbers") as refused:
            array_from(record, (3, 5))
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize("layout", ["csc", "csr", "coo"])
def test_sparse_layouts_are_read_as_scipy_does(written, layout):
    matrix = sparse.random(16, 778, density=0.02, rng=np.random.default_rng(2)).asformat(layout)
    record = load_records(written(pickle.dumps({"a": matrix}, protocol=2)))["a"]
    np.testing.assert_array_equal(array_from(record, (16, 778)), matrix.toarray())


@pytest.mark.parametrize(("name", "value"), [("indices", 16), ("indices", -1), ("indptr", 10_000), ("indptr", -5)])
def test_sparse_indices_out_of_range_are_refused(written, name, value):
    matrix = sparse.csc_matrix(np.eye(16, 778))
    getattr(matrix, name)[3] = value
    record = load_records(written(pickle.dumps({"a": matrix}, protocol=2)))["a"]
    with pytest.raises(ValueError, match=r"fit|match|negative"):
        array_from(record, (16, 778))
