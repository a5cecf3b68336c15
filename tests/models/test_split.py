"""Files of heads on a trunk: their answers, that shared networks run once a frame, and messages of wrong trunks."""

import dataclasses
import shutil
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.paths import MODELS, TRUNK_NAME, model_file
from handviz.core.records import CROP_SIZE, DEFAULT_CROP, FloatArray, HandCrop
from handviz.hand_models.open_hand import load_open_hand
from handviz.models import shared as shared_module
from handviz.models.base import LoadContext
from handviz.models.reconstructor import LoadedModel, ModelCache, OnnxReconstructor
from handviz.models.registry import model_spec
from handviz.models.shared import SharedNetworks
from handviz.models.trunk import TRUNK_INPUTS, TRUNK_KEY, Trunk
from tests.errors import raises
from tests.hands import made_up_detection
from tests.made_up_families import installed, made_up_family
from tests.shared_networks import CountingLandmarks, images_of

AMVUR = ("prior", "amvur", "final")
DATA = Path(__file__).parents[1] / "data"
REFERENCE = DATA / "whole_files_reference.npz"
"""What the whole files of the shipped weights, as ``handviz export`` wrote them before ``python -m tools.build split``,
answer to ``reference_crops``, by model and output."""
FIELDS = ("vertices_m", "vertex_std_m", "keypoints_m", "keypoint_std_m", "landmarks_m")
TOLERANCE_M = 1e-5


def crop_of(seed: int, size_px: int = CROP_SIZE) -> HandCrop:
    image = np.random.default_rng(seed).integers(0, 256, (size_px, size_px, 3), np.uint8)
    return HandCrop(image, np.eye(2, 3), made_up_detection("right"))


def reference_crops() -> list[HandCrop]:
    """Return the drawn hand of MediaPipe's reference, and its mirror image."""
    image = np.load(DATA / "mediapipe_hand_reference.npz")["crop"]
    return [HandCrop(one, np.eye(2, 3), made_up_detection("right")) for one in (image, image[:, ::-1].copy())]


@pytest.fixture
def network() -> CountingLandmarks:
    return CountingLandmarks()


@pytest.fixture
def shared(network: CountingLandmarks) -> SharedNetworks:
    return SharedNetworks(network)  # type: ignore[arg-type]


@pytest.fixture
def trunk_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the batches that trunks ran since the list was cleared."""
    runs: list[int] = []
    real = Trunk._run

    def counted(trunk: Trunk, inputs: dict[str, FloatArray]) -> object:
        runs.append(len(inputs["presence"]))
        return real(trunk, inputs)

    monkeypatch.setattr(Trunk, "_run", counted)
    return runs


@pytest.fixture
def loaded(shared: SharedNetworks, trunk_runs: list[int]) -> list[OnnxReconstructor]:
    """Return the three shipped models with shared networks, loaded and with nothing counted."""
    models = [OnnxReconstructor(model_file(name), device="cpu", shared=shared) for name in AMVUR]
    trunk_runs.clear()
    return models


@pytest.mark.parametrize("name", AMVUR)
def test_heads_answer_as_the_whole_files_did(name: str, shared: SharedNetworks) -> None:
    reference, crops = np.load(REFERENCE), reference_crops()
    hands = OnnxReconstructor(model_file(name), device="cpu", shared=shared).reconstruct(crops)
    assert len(hands) == len(crops)
    for index, hand in enumerate(hands):
        for field in FIELDS:
            np.testing.assert_allclose(getattr(hand, field), reference[f"{name}_{field}"][index], atol=TOLERANCE_M)
        for field in ("rotation", "scale", "translation", "right_hand", "presence"):
            np.testing.assert_allclose(getattr(hand, field), reference[f"{name}_{field}"][index], atol=1e-4)


def test_three_models_run_landmark_network_and_trunk_once_a_frame(
    loaded: list[OnnxReconstructor], network: CountingLandmarks, trunk_runs: list[int]
) -> None:
    for frame in range(3):
        # Each model gets crops of its own, which are the same.
        hands = [model.reconstruct([crop_of(frame), crop_of(frame + 10)]) for model in loaded]
        assert (network.runs, trunk_runs) == (frame + 1, [2] * (frame + 1))
        assert not np.allclose(hands[0][0].vertices_m, hands[1][0].vertices_m, atol=1e-4)


def test_landmarks_of_the_crops_are_taken(
    loaded: list[OnnxReconstructor], network: CountingLandmarks, trunk_runs: list[int]
) -> None:
    first, second = crop_of(0), crop_of(1)
    (landmarks,) = network.of_images(images_of([first]))
    known = dataclasses.replace(first, landmarks=landmarks)
    expected = loaded[2].reconstruct([first, second])
    loaded[2].reconstruct([crop_of(2), crop_of(3)])
    trunk_runs.clear()
    runs = network.runs
    for model in loaded:
        found = model.reconstruct([known, second])
    assert network.runs == runs + 1, "once for the crop without landmarks"
    assert trunk_runs == [2]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.vertices_m, other.vertices_m, atol=TOLERANCE_M)
    assert found[0].landmarks_m is landmarks.world_m


def test_models_whose_crops_lack_landmarks_get_those_of_the_one_before(
    loaded: list[OnnxReconstructor], network: CountingLandmarks, trunk_runs: list[int]
) -> None:
    crops = [crop_of(0), crop_of(1)]
    landmarks = network.of_images(images_of(crops))
    runs = network.runs
    known = [dataclasses.replace(crop, landmarks=one) for crop, one in zip(crops, landmarks, strict=True)]
    for model, those in zip(loaded, (known, [crop_of(0), crop_of(1)], crops), strict=True):
        model.reconstruct(those)
    assert (network.runs, trunk_runs) == (runs, [2])
    loaded[0].reconstruct(crops[::-1])
    assert (network.runs, trunk_runs) == (runs + 1, [2, 2])


def test_other_crops_are_other_hands(loaded: list[OnnxReconstructor], trunk_runs: list[int]) -> None:
    first, again, other = (loaded[0].reconstruct([crop_of(seed)])[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.vertices_m, again.vertices_m)
    assert np.abs(first.vertices_m - other.vertices_m).max() > 1e-4
    assert trunk_runs == [1, 1]


def test_threads_get_the_hands_of_their_own_crops(loaded: list[OnnxReconstructor]) -> None:
    expected = [loaded[2].reconstruct([crop_of(seed)])[0].vertices_m for seed in range(4)]
    wrong: list[int] = []

    def ask(seed: int) -> None:
        for _ in range(3):
            found = loaded[2].reconstruct([crop_of(seed)])[0].vertices_m
            if np.abs(found - expected[seed]).max() > TOLERANCE_M:
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_models_of_a_cache_share_one_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    real = Trunk.__init__

    def noted(trunk: Trunk, path: Path, *others: object) -> None:
        opened.append(path)
        real(trunk, path, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Trunk, "__init__", noted)
    cache = ModelCache(LoadContext(device="cpu"))
    try:
        for name in AMVUR:
            cache.request(name).result()
    finally:
        cache.close()
    assert opened == [MODELS / TRUNK_NAME]
    assert cache.shared.trunk_of(model_file("final"), Trunk(opened[0], "cpu").fingerprint, "cpu") is not None
    assert opened == [MODELS / TRUNK_NAME] * 2, "the one that the test itself opens"


def rewritten(path: Path, out: Path, **metadata: str) -> Path:
    """Write a network with other metadata."""
    model = onnx.load(path)
    for entry in model.metadata_props:
        entry.value = metadata.get(entry.key.removeprefix("handviz."), entry.value)
    onnx.save(model, out)
    return out


def test_heads_of_another_trunk_are_refused(tmp_path: Path) -> None:
    path = rewritten(model_file("prior"), tmp_path / "handviz_prior.onnx", trunk="ab" * 32)
    with raises(ErrorCode.MODEL_MISMATCH, match=r"handviz_prior\.onnx belongs to the trunk abababababab"):
        OnnxReconstructor(path)
    rewritten(MODELS / TRUNK_NAME, tmp_path / TRUNK_NAME, trunk="ab" * 32)
    assert OnnxReconstructor(path).file.state == "changed"


def test_the_trunk_beside_the_heads_is_taken_before_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "handviz_prior.onnx"
    shutil.copy(model_file("prior"), path)
    assert OnnxReconstructor(path, device="cpu").file.state == "shipped"
    rewritten(MODELS / TRUNK_NAME, tmp_path / TRUNK_NAME, trunk="cd" * 32)
    with raises(ErrorCode.MODEL_MISMATCH, match="cdcdcdcdcdcd"):
        OnnxReconstructor(path)


def test_heads_whose_trunk_is_changed_count_as_changed(tmp_path: Path) -> None:
    shutil.copy(model_file("prior"), tmp_path)
    rewritten(MODELS / TRUNK_NAME, tmp_path / TRUNK_NAME, version="another")
    assert OnnxReconstructor(tmp_path / "handviz_prior.onnx", device="cpu").file.state == "changed"


def test_a_missing_trunk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_module, "MODELS", tmp_path / "nowhere")
    shutil.copy(model_file("prior"), tmp_path)
    with raises(ErrorCode.MODEL_MISSING, match=rf"its trunk {TRUNK_NAME} is neither beside it"):
        OnnxReconstructor(tmp_path / "handviz_prior.onnx")


@pytest.mark.parametrize(
    ("content", "code"), [(b"", ErrorCode.MODEL_DAMAGED), (b"no network", ErrorCode.MODEL_DAMAGED)]
)
def test_a_damaged_trunk_is_named(tmp_path: Path, content: bytes, code: ErrorCode) -> None:
    shutil.copy(model_file("prior"), tmp_path)
    (tmp_path / TRUNK_NAME).write_bytes(content or (MODELS / TRUNK_NAME).read_bytes()[:100_000])
    with raises(code, match=TRUNK_NAME):
        OnnxReconstructor(tmp_path / "handviz_prior.onnx")


def test_what_is_no_trunk_is_refused(tmp_path: Path) -> None:
    shutil.copy(model_file("prior"), tmp_path)
    shutil.copy(model_file("amvur"), tmp_path / TRUNK_NAME)
    with raises(ErrorCode.MODEL_FOREIGN, match="is not a trunk of handviz"):
        OnnxReconstructor(tmp_path / "handviz_prior.onnx")


def test_heads_that_name_no_trunk_are_refused(tmp_path: Path) -> None:
    path = rewritten(model_file("prior"), tmp_path / "handviz_prior.onnx", trunk="")
    with raises(ErrorCode.MODEL_FOREIGN, match=TRUNK_KEY):
        OnnxReconstructor(path)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    shutil.copy(model_file("prior"), tmp_path)
    model = onnx.load(MODELS / TRUNK_NAME)
    bias = next(item for item in model.graph.initializer if item.name == "model.features.summary.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(32, np.nan, np.float32), bias.name))
    onnx.save(model, tmp_path / TRUNK_NAME)
    with raises(ErrorCode.NOT_FINITE, match=TRUNK_NAME):
        OnnxReconstructor(tmp_path / "handviz_prior.onnx")


def test_crops_of_another_size_are_refused(shared: SharedNetworks) -> None:
    with raises(ErrorCode.WRONG_SHAPE):
        OnnxReconstructor(model_file("prior"), device="cpu", shared=shared).reconstruct([crop_of(0, 128)])


def test_a_foreign_model_without_landmarks_has_those_of_the_crop(network: CountingLandmarks) -> None:
    family = made_up_family("stranger", crop=DEFAULT_CROP)
    (landmarks,) = network.of_images(images_of([crop_of(0)]))
    with installed(stranger=family):
        model = LoadedModel(model_spec("stranger"), LoadContext())
        crops = [dataclasses.replace(crop_of(0), landmarks=landmarks), crop_of(0)]
        judged, plain = model.reconstruct(crops)
    assert judged.landmarks_m is landmarks.world_m
    assert (judged.presence, judged.right_hand) == (landmarks.presence, landmarks.right_hand)
    assert (plain.landmarks_m, plain.presence) == (None, 0.0)


def test_a_trunk_takes_what_crops_have() -> None:
    trunk = Trunk(MODELS / TRUNK_NAME, "cpu")
    inputs = {item.name: tuple(item.shape[1:]) for item in trunk._session.get_inputs()}
    assert inputs == TRUNK_INPUTS
    assert trunk.widths[1] == 192


@pytest.mark.slow
def test_shipped_files_are_split_of_one_trunk() -> None:
    from handviz.models.amvur.export import trunk_fingerprint
    from handviz.models.amvur.from_onnx import read_onnx

    found = {trunk_fingerprint(read_onnx(model_file(name), load_open_hand()).model) for name in AMVUR}
    assert found == {Trunk(MODELS / TRUNK_NAME, "cpu").fingerprint}
