"""HAMR in the trainer: it learns, resumes to the bit, and takes its stages' weights."""

from dataclasses import replace

import onnx
import pytest
import torch

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.models.hamr.heatmaps import Maps
from handviz.models.hamr.losses import LossConfig
from handviz.models.hamr.model import Inputs, ModelConfig, Seen
from handviz.models.hamr.samples import inputs_of_batch
from handviz.models.hamr.training import HamrTask, TrainConfig
from handviz.models.hamr.training_cache import seen_samples
from handviz.models.hamr.training_checkpoint import export, predictor
from handviz.training.augmentation import LandmarkNoise, StyleNoise
from handviz.training.dataset_samples import Drawing, load_samples
from handviz.training.trainer import Run
from tests.errors import raises
from tests.small_trainings import run_steps

pytestmark = pytest.mark.slow
SMALL = ModelConfig(feature_size=16, token_width=8, width=16)


@pytest.fixture
def config(rendered_hands, tmp_path) -> TrainConfig:
    return TrainConfig((rendered_hands,), tmp_path / "run", SMALL, epochs=2, batch_size=4, warm_up_steps=1, limit=8)


def run_of(config, template) -> Run:
    return Run(HamrTask(config, template))


def test_a_few_steps_lower_the_loss(config, template) -> None:
    losses = run_steps(run_of(replace(config, limit=4, epochs=30, style_noise=StyleNoise(0.0)), template))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_resumed_run_is_the_straight_one_to_the_bit(config, template, tmp_path) -> None:
    config = replace(config, epochs=2)
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


def test_every_parameter_learns(config, template) -> None:
    run = run_of(replace(config, loss=LossConfig(silhouette=1.0)), template)
    before = {name: value.clone() for name, value in run.task.network.named_parameters()}
    # The last layers start near zero: what is before them gets its gradient from the second step on.
    run_steps(run, 3)
    unchanged = [name for name, value in run.task.network.named_parameters() if torch.equal(value, before[name])]
    assert unchanged == []


def test_the_first_stage_trains_heatmaps_alone_and_the_next_takes_them(config, template) -> None:
    first = run_of(replace(config, heatmaps_only=True), template)
    regressor = first.task.network.regressor.change.weight.clone()
    run_steps(first, 2)
    assert torch.equal(first.task.network.regressor.change.weight, regressor)
    first.save()
    after = run_of(replace(config, run=config.run / "second", start_from=(first.last,), seed=5), template)
    for name, value in first.task.network.heatmap_net.state_dict().items():
        assert torch.equal(after.task.network.heatmap_net.state_dict()[name], value), name
    assert after.crops_seen == 8


def test_the_second_stage_computes_once_what_it_reads_and_leaves_the_heatmaps(config, template, monkeypatch) -> None:
    config = replace(config, frozen_heatmaps=True, seen_folder=config.run.parent / "seen", style_noise=StyleNoise(0.0))
    run = run_of(config, template)
    before = {name: value.clone() for name, value in run.task.network.state_dict().items()}
    task = run.task
    images, _ = load_samples(config.data, template, 8, Drawing(joints_suffice=True)).batch(torch.arange(8))
    task.network.eval()
    expected, _, _ = task.network.seen(inputs_of_batch(task.landmark_network, images))
    found, _ = task.samples.batch(torch.arange(8))
    for name in Seen._fields:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=2e-2, rtol=2e-3)
    losses = run_steps(run)
    for name, value in run.task.network.state_dict().items():
        if name.startswith("heatmap_net.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(run.task.network.state_dict()["regressor.change.weight"], before["regressor.change.weight"])
    monkeypatch.setattr("handviz.models.hamr.training.inputs_of_batch", None)
    again = run_of(replace(config, run=config.run / "again"), template)
    assert run_steps(again) == losses, "from the files, to the bit"


def test_a_stopped_computation_goes_on(config, template, tmp_path) -> None:
    samples = load_samples(config.data, template, 8, Drawing(joints_suffice=True))
    asked: list[int] = []

    def see(ids: torch.Tensor, images: torch.Tensor) -> Seen:
        asked.extend(ids.tolist())
        of = ids.float()[:, None]
        return Seen(of[:, None, None].expand(-1, 2, 3, 3), of[..., None].expand(-1, 21, 1), of[..., None], of, of)

    first = seen_samples(samples, lambda: see, tmp_path, "key")
    (tmp_path / "key_done.txt").write_text("6")
    second = seen_samples(samples, lambda: see, tmp_path, "key")
    assert asked == [*range(8), 6, 7]
    for mine, other in zip(first.batch(torch.arange(8))[0], second.batch(torch.arange(8))[0], strict=True):
        assert torch.equal(mine, other)
    with raises(ErrorCode.WRONG_SHAPE, match="8 crops"):
        seen_samples(load_samples(config.data, template, 7, Drawing(joints_suffice=True)), lambda: see, tmp_path, "key")
    (tmp_path / "key_peak.npy").write_bytes(b"no array")
    with raises(ErrorCode.FILE_DAMAGED, match="key_peak"):
        seen_samples(samples, lambda: see, tmp_path, "key")
    (tmp_path / "key_done.txt").write_text("many")
    with raises(ErrorCode.FILE_DAMAGED, match="key_done"):
        seen_samples(samples, lambda: see, tmp_path, "key")


def test_stages_that_exclude_each_other_are_refused(config) -> None:
    with raises(ErrorCode.OPTION_CONFLICT, match="frozen_heatmaps"):
        replace(config, heatmaps_only=True, frozen_heatmaps=True)


def test_noise_moves_landmarks_and_styles_alone(config, template) -> None:
    task = HamrTask(replace(config, landmark_noise=LandmarkNoise(fraction=1.0), style_noise=StyleNoise(1.0)), template)
    plain = HamrTask(replace(config, landmark_noise=LandmarkNoise(fraction=0.0), style_noise=StyleNoise(0.0)), template)
    ids = torch.arange(4)
    (noisy, truth), (clean, same) = task._batch(ids, 0), plain._batch(ids, 0)
    assert torch.equal(truth.vertices_cm, same.vertices_cm)
    assert isinstance(noisy, Inputs)
    assert noisy.landmarks is not None
    assert clean.landmarks is not None
    assert isinstance(noisy.maps, Maps)
    assert isinstance(clean.maps, Maps)
    assert not torch.equal(noisy.landmarks, clean.landmarks)
    assert all(not torch.equal(one, other) for one, other in zip(noisy.maps, clean.maps, strict=True))
    again, _ = task._batch(ids, 0)
    assert again.landmarks is not None
    assert torch.equal(again.landmarks, noisy.landmarks), "by seed and step alone"


def test_predictions_are_those_of_the_network(config, template) -> None:
    run = run_of(config, template)
    run.save()
    images, _ = run.task.samples.batch(torch.arange(3))
    hands = predictor(run.last, template)((images.permute(0, 2, 3, 1) * 255).round().byte().numpy())
    assert len(hands) == 3
    assert all(hand.vertices_m.shape == (778, 3) and hand.vertex_std_m is not None for hand in hands)


def test_calibration_fits_the_spread_and_export_writes_it(config, template, rendered_hands, tmp_path) -> None:
    run = run_of(config, template)
    run.save()
    assert main(["calibrate", str(run.last), "--data", str(rendered_hands), "--count", "16"]) == 0
    path = export(run.last, template, tmp_path / "models").path
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    scale, floor = map(float, metadata["handviz.heatmap_spread"].split())
    assert scale > 0
    assert floor >= 0
    assert (scale, floor) != (1.0, 0.0)
    assert float(metadata["handviz.constant_std_mm"]) != 10.0


def test_a_rate_of_nothing_is_refused(config) -> None:
    with raises(ErrorCode.BAD_VALUE, match="rate"):
        replace(config, rate=0.0)
