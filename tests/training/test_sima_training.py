"""SiMA-Hand in the trainer: both networks learn, resume to the bit, in stages, and one learns the other's features."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.models.sima_hand import training, training_cache
from handviz.models.sima_hand.losses import SHAPE_TERMS, LossConfig
from handviz.models.sima_hand.model import Inputs, ModelConfig
from handviz.models.sima_hand.samples import inputs_of_batch, of_crops
from handviz.models.sima_hand.training import SimaTask, TrainConfig
from handviz.models.sima_hand.training_cache import CachedSamples, load_cached, load_single_views
from handviz.models.sima_hand.training_checkpoint import export, load_checkpoint, predictor
from handviz.training.augmentation import LandmarkNoise, StyleNoise
from handviz.training.samples import take
from handviz.training.trainer import Run
from tests.errors import raises
from tests.sima_moments import FakeMoments, load_fake_moments
from tests.small_trainings import run_steps

pytestmark = pytest.mark.slow
MULTI = ModelConfig("mvr", views=3)
NO_NOISE = {"landmark_noise": LandmarkNoise(fraction=0.0), "style_noise": StyleNoise(0.0)}


@pytest.fixture
def rendered_hands(rendered_hands, tmp_path) -> Path:
    """Return a folder of the test's own, so that nobody else finds what is cached beside the hands."""
    return Path(shutil.copytree(rendered_hands, tmp_path / "hands"))


@pytest.fixture(autouse=True)
def moments(monkeypatch) -> None:
    """Let every folder be one of moments of three views."""
    monkeypatch.setattr(training, "load_moments", load_fake_moments)


@pytest.fixture
def config(rendered_hands, tmp_path) -> TrainConfig:
    return TrainConfig((rendered_hands,), tmp_path / "run", epochs=2, batch_size=4, warm_up_steps=1, limit=8)


@pytest.fixture
def of_views(config) -> TrainConfig:
    return replace(config, model=MULTI, moments=True, batch_size=2)


@pytest.fixture
def teacher(of_views, template, tmp_path):
    """Return the folder of a multi-view network's checkpoint after two steps."""
    run = run_of(replace(of_views, run=tmp_path / "teacher"), template)
    run_steps(run, 2)
    run.save()
    return run.last


def run_of(config, template) -> Run:
    return Run(SimaTask(config, template))


@pytest.mark.parametrize("network", ["svr", "mvr"])
def test_it_learns_a_few_crops_by_heart(config, of_views, template, network) -> None:
    known = replace({"svr": config, "mvr": of_views}[network], limit=4, **NO_NOISE)
    losses = run_steps(run_of(replace(known, epochs=40, batch_size=4), template))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("network", ["svr", "mvr"])
def test_a_resumed_run_is_the_straight_one_to_the_bit(config, of_views, template, tmp_path, network) -> None:
    config = {"svr": config, "mvr": of_views}[network]
    straight = run_of(config, template)
    losses = run_steps(straight)
    stopped = run_of(replace(config, run=tmp_path / "stopped"), template)
    first = run_steps(stopped, 2)
    stopped.save()
    resumed = run_of(stopped.task.config, template)
    resumed.resume()
    assert first + run_steps(resumed) == losses
    for name, value in straight.task.network.state_dict().items():
        assert torch.equal(value, resumed.task.network.state_dict()[name]), name


@pytest.mark.parametrize("network", ["svr", "mvr"])
def test_every_parameter_learns(config, of_views, template, network) -> None:
    run = run_of({"svr": config, "mvr": of_views}[network], template)
    before = {name: value.clone() for name, value in run.task.network.named_parameters()}
    # The last layers of fusions start at zero: what is before them gets its gradient from the second step on.
    run_steps(run, 3)
    unchanged = [name for name, value in run.task.network.named_parameters() if torch.equal(value, before[name])]
    assert unchanged == []


def test_the_stages_train_one_branch_each(config, template) -> None:
    first = run_of(replace(config, stage="shape"), template)
    state = {name: value.clone() for name, value in first.task.network.state_dict().items()}
    assert set(first.task.loss_terms(torch.arange(4), 0)) <= set(SHAPE_TERMS)
    run_steps(first, 2)
    changed = first.task.network.state_dict()
    assert torch.equal(changed["rotation.narrow.weight"], state["rotation.narrow.weight"])
    assert not torch.equal(changed["decoder.narrow.weight"], state["decoder.narrow.weight"])
    first.save()
    second = run_of(replace(config, stage="orientation", run=config.run / "second", start_from=(first.last,)), template)
    assert not set(second.task.loss_terms(torch.arange(4), 0)) & set(SHAPE_TERMS)
    run_steps(second, 2)
    after = second.task.network.state_dict()
    shape = ("shape_encoder.", "joints.", "lifting.", "decoder.")
    for name, value in after.items():
        is_of_shape = name.startswith(shape)
        assert not is_of_shape or torch.equal(value, changed[name]), f"{name}: its statistics too"
    assert not torch.equal(after["rotation.narrow.weight"], changed["rotation.narrow.weight"])


def test_the_presence_is_trained_alone_on_ordinary_crops(config, template, of_views) -> None:
    run = run_of(replace(config, stage="presence"), template)
    before = {name: value.clone() for name, value in run.task.network.state_dict().items()}
    assert run.task.loss_terms(torch.arange(4), 0).keys() == {"presence"}
    run_steps(run, 2)
    for name, value in run.task.network.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("presence."), name


def test_some_views_are_drawn_by_seed_and_step_alone(of_views, template) -> None:
    task = SimaTask(replace(of_views, fewest_views=1, **NO_NOISE), template)
    ids, numbers = torch.arange(2), set()
    whole, truth = task.samples.batch(ids)
    for step in range(12):
        inputs, some = task._batch(ids, step)
        again, _ = task._batch(ids, step)
        assert inputs.middle_map is not None
        assert whole.middle_map is not None
        assert again.middle_map is not None
        assert torch.equal(inputs.middle_map, again.middle_map)
        count = inputs.middle_map.shape[1]
        numbers.add(count)
        assert len(some.is_hand) == 2 * count
        assert torch.equal(some.vertices_cm[0], truth.vertices_cm[0])
        assert torch.equal(some.vertices_cm[count], truth.vertices_cm[3])
    assert numbers == {1, 2, 3}


def test_noise_moves_landmarks_and_maps_alone(of_views, template) -> None:
    noise = {"landmark_noise": LandmarkNoise(fraction=1.0), "style_noise": StyleNoise(1.0)}
    task, plain = (SimaTask(replace(of_views, **one), template) for one in (noise, NO_NOISE))
    (noisy, truth), (clean, same) = task._batch(torch.arange(2), 0), plain._batch(torch.arange(2), 0)
    assert torch.equal(truth.vertices_cm, same.vertices_cm)
    for mine, other in zip(noisy[:2], clean[:2], strict=True):
        assert mine is not None
        assert other is not None
        assert mine.shape == other.shape
        assert not torch.equal(mine, other)


def test_cached_inputs_are_those_of_mediapipe(config, of_views, template) -> None:
    task = SimaTask(replace(of_views, **NO_NOISE), template)
    cached, truth = task.samples.batch(torch.tensor([5, 2]))
    source = load_fake_moments(config.data, template, None)
    images, known = source.batch(torch.tensor([5, 2]))
    expected = inputs_of_batch(task.landmark_network, images)
    assert cached.middle_map is not None
    assert expected.middle_map is not None
    torch.testing.assert_close(cached.middle_map, expected.middle_map, atol=2e-2, rtol=2e-3)
    torch.testing.assert_close(cached.landmarks, expected.landmarks, atol=1e-3, rtol=1e-3)
    for name in ("vertices_cm", "rotation", "keypoints_crop", "scale_per_cm", "translation"):
        torch.testing.assert_close(getattr(truth, name), getattr(known, name))
    single = SimaTask(replace(config, moments=True, **NO_NOISE), template)
    crops, of_crop = single.samples.batch(torch.tensor([7, 16]))
    flat = of_crops(task.samples.batch(torch.tensor([2, 5]))[0])
    assert crops.middle_map is not None
    assert flat.middle_map is not None
    assert torch.equal(crops.middle_map, flat.middle_map[[1, 4]]), "crop 7 is view 1 of moment 2"
    assert torch.equal(of_crop.rotation, take(truth, torch.tensor([4, 1])).rotation)


def test_maps_are_computed_once(config, template, monkeypatch) -> None:
    SimaTask(config, template)
    monkeypatch.setattr(training_cache, "_write", None)
    asked: list[FakeMoments] = []

    def load(*arguments):
        asked.append(load_fake_moments(*arguments))
        return asked[-1]

    SimaTask(config, template)
    with pytest.raises(TypeError, match="NoneType"):
        load_cached(config.data, template, None, lambda *words: FakeMoments(load(*words).samples, 2), None)


def test_a_cache_of_other_data_is_refused(config, template, tmp_path, rendered_hands) -> None:
    other = shutil.copytree(rendered_hands, tmp_path / "other", ignore=shutil.ignore_patterns("sima_*"))
    task = SimaTask(replace(config, data=(other,)), template)
    (path,) = other.glob("sima_labels_1.npz")
    columns = dict(np.load(path))
    columns["keypoints_crop"][0] += 0.1
    np.savez(path, **columns)
    with raises(ErrorCode.WRONG_SHAPE, match="sima_maps_1.npy"):
        SimaTask(task.config, template)
    (maps,) = other.glob("sima_maps_1.npy")
    maps.write_bytes(maps.read_bytes()[:100])
    with raises(ErrorCode.FILE_DAMAGED, match="sima_maps_1.npy"):
        SimaTask(task.config, template)


def test_several_folders_are_one_after_the_other(config, template, tmp_path, rendered_hands) -> None:
    other = shutil.copytree(rendered_hands, tmp_path / "other")
    task = SimaTask(replace(config, data=(rendered_hands, other), limit=40, **NO_NOISE), template)
    assert len(task.samples) == 40
    assert isinstance(task.samples.samples, CachedSamples)
    (mixed, truth), (alone, own) = (task.samples.batch(torch.tensor(ids)) for ids in ([33, 2, 1], [1, 2, 1]))
    assert mixed.landmarks is not None
    assert alone.landmarks is not None
    assert torch.equal(mixed.landmarks, alone.landmarks)
    assert torch.equal(truth.vertices_cm, own.vertices_cm)
    with raises(ErrorCode.OPTION_CONFLICT, match="views"):
        loaders = iter([load_single_views, load_fake_moments])
        load_cached(
            (rendered_hands, other), template, None, lambda *words: next(loaders)(*words), task.landmark_network
        )


@pytest.mark.parametrize(
    ("shape", "orientation"),
    [("vertex", "enhanced"), ("last_vertex", "none"), ("vertex", "joint"), ("none", "orientation")],
)
def test_a_student_learns_its_teacher_s_features(config, teacher, template, shape, orientation) -> None:
    loss = LossConfig(shape_place=shape, orientation_place=orientation)
    task = SimaTask(replace(config, moments=True, teacher=teacher, loss=loss, **NO_NOISE), template)
    ids = torch.tensor([3, 7, 20])
    terms = {name: value.detach() for name, value in task.loss_terms(ids, 0).items()}
    assert ("shape_features" in terms) == (shape != "none")
    assert ("orientation_features" in terms) == (orientation != "none")
    network, _, _ = load_checkpoint(teacher, template)
    network.eval()
    views, _ = task.samples.samples.batch(ids // 3)
    with torch.no_grad():
        expected, mine = network(views).features, task.network(task.samples.batch(ids)[0]).features
    rows = torch.arange(3)
    if shape != "none":
        error = (getattr(mine, shape) - getattr(expected, shape)).square().mean()
        assert float(terms["shape_features"]) == pytest.approx(float(error), rel=0.02)
    if orientation != "none":
        name = "joint" if orientation == "joint" else "orientation"
        of_teacher = getattr(expected, name)[rows * 3 + ids % 3]
        own = getattr(mine, orientation)
        if own.ndim == 3:
            of_teacher = of_teacher.flatten(2).transpose(1, 2)
        # Its dropout is another one.
        task.network.eval()
        found = task.loss_terms(ids, 0)["orientation_features"].detach()
        with torch.no_grad():
            own = getattr(task.network(task.samples.batch(ids)[0]).features, orientation)
        assert float(found) == pytest.approx(float((own - of_teacher).square().mean()), rel=0.02)


def test_a_teacher_s_features_are_written_once(config, teacher, template, monkeypatch) -> None:
    known = replace(config, moments=True, teacher=teacher)
    SimaTask(known, template)
    written = sorted(path.name for path in (teacher.parent / "features").iterdir())
    assert len(written) == 2
    monkeypatch.setattr(training_cache, "_write_features", None)
    SimaTask(known, template)
    losses = run_steps(run_of(replace(known, epochs=4, **NO_NOISE), template))
    assert losses[-1] < losses[0]


def test_a_student_takes_no_student_as_teacher(config, template) -> None:
    run = run_of(config, template)
    run.save()
    with raises(ErrorCode.MODEL_MISMATCH, match="svr"):
        SimaTask(replace(config, moments=True, teacher=run.last, run=config.run / "other"), template)


def test_validation_measures_both_networks(config, of_views, template, rendered_hands) -> None:
    for known in (config, of_views):
        run = run_of(replace(known, validation=rendered_hands), template)
        errors = run.validate()
        assert {"pa_mpjpe_mm", "rotation_error_deg", "turned_vertex_error_mm"} <= errors.keys()
        assert all(np.isfinite(value) for value in errors.values())


def test_predictions_calibration_and_export(config, template, rendered_hands, tmp_path) -> None:
    run = run_of(config, template)
    run_steps(run, 1)
    run.save()
    images, _ = load_fake_moments(config.data, template, None).samples.batch(torch.arange(3))
    hands = predictor(run.last, template)((images.permute(0, 2, 3, 1) * 255).round().byte().numpy())
    assert len(hands) == 3
    assert all(hand.vertices_m.shape == (778, 3) and hand.vertex_std_m is not None for hand in hands)
    assert main(["calibrate", str(run.last), "--data", str(rendered_hands), "--count", "16"]) == 0
    path = export(run.last, template, tmp_path / "models").path
    assert path.name == "handviz_sima.onnx"
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert float(metadata["handviz.constant_std_mm"]) != 10.0


def test_a_multi_view_checkpoint_is_exported_and_predicts_no_single_crops(teacher, template, tmp_path) -> None:
    assert export(teacher, template, tmp_path / "models").path.name == "handviz_sima_mvr.onnx"
    with raises(ErrorCode.OPTION_CONFLICT, match="multi-view"):
        predictor(teacher, template)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": MULTI},
        {"teacher": "somewhere"},
        {"model": MULTI, "moments": True, "teacher": "somewhere"},
        {"fewest_views": 2},
        {"model": replace(MULTI, image_fusion="concat"), "moments": True, "fewest_views": 2},
        {"model": ModelConfig(form="paper", landmarks=False), "moments": True, "teacher": "somewhere"},
    ],
)
def test_options_that_do_not_go_together_are_refused(config, changes) -> None:
    with raises(ErrorCode.OPTION_CONFLICT):
        replace(config, **changes)


def test_wrong_values_are_refused(config) -> None:
    for changes in ({"rate": 0.0}, {"fewest_views": 0, "moments": True, "model": MULTI}):
        with raises(ErrorCode.BAD_VALUE):
            replace(config, **changes)
    with raises(ErrorCode.UNKNOWN_NAME):
        replace(config, stage="third")
    with raises(ErrorCode.OPTION_CONFLICT, match="datasets"):
        learning = replace(config, moments=True, teacher=config.run)
        training.load_source(learning, ("hanco/train:there",), None, None, None, None)


def test_the_paper_s_form_takes_steps_on_images(of_views, config, template) -> None:
    """On moments and on crops, uncached; the smallest batches that its normalisation takes."""
    paper = {"form": "paper", "landmarks": False}
    for known in (of_views, config, replace(config, moments=True)):
        model = replace(known.model, **paper, views=3)
        task = SimaTask(replace(known, model=model, limit=2, batch_size=1), template)
        inputs, _ = task._batch(torch.arange(1 if known is of_views else 2), 0)
        assert isinstance(inputs, Inputs)
        assert inputs.middle_map is None
        assert inputs.image is not None
        assert inputs.image.shape[-3:] == (3, 224, 224)
        assert all(torch.isfinite(value) for value in task.loss_terms(torch.arange(2), 0).values())
