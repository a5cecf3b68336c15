from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handviz.__main__ import main
from handviz.adaptation import adapt as bench
from handviz.adaptation.adapt import between, check_out, intrinsics_in_crop, is_better, split_rows, write_outcome
from handviz.adaptation.clip_crops import ClipCrops, crops_of_frames, cuts_of
from handviz.adaptation.training import (
    Adaptation,
    AdaptConfig,
    Agreement,
    TrainingData,
    Views,
    agreement,
    marks,
    teacher_of,
)
from handviz.core.errors import ErrorCode
from handviz.core.paths import CLIP_FILE, MODELS
from handviz.core.records import Frame
from handviz.detection.crop import as_the_detector_marks_them, crop_hand
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.export import CalibrationMetadata, ExportMetadata
from handviz.models.amvur.from_onnx import Exported
from handviz.models.amvur.model import Cached, HandModel, ModelConfig, build_model
from handviz.sources.source import open_source
from handviz.training.trainer import Trainer
from tests.errors import raises, wrong_usage

SMALL = ModelConfig(variant="prior", feature_width=16, feature_layers=1, width=16, regressor_width=32, camera="feature")
RHO = 0.9


def regressor() -> torch.Tensor:
    return torch.tensor(load_open_hand().keypoint_regressor, dtype=torch.float32)


@pytest.fixture(scope="module")
def small() -> Exported:
    torch.manual_seed(0)
    model = build_model(SMALL, load_open_hand())
    with torch.no_grad():  # A camera that sees the hand in the middle of the crop.
        model.heads.camera.mean.bias.copy_(torch.tensor([1.0, 0, 0, 0, -1, 0, -0.7, 0, 0.6]))
    return Exported(model, SMALL, ExportMetadata("abc", 7, CalibrationMetadata(RHO)))


@pytest.fixture(scope="module")
def clip() -> ClipCrops:
    """Hands of the bundled clip."""
    source = open_source(str(CLIP_FILE))
    frames = [source.read() for _ in range(52)]
    source.close()
    return crops_of_frames((frame for frame in frames if frame), follows=True, side="detected", total=52)


def views(count: int) -> Views:
    generator = torch.Generator().manual_seed(1)
    maps, landmarks = torch.rand(count, 112, 14, 14, generator=generator), torch.rand(count, 128, generator=generator)
    labels = torch.rand(count, 21, 2, generator=generator) - 0.5
    return Views(Cached(maps.half(), landmarks), labels, torch.eye(2).expand(count, 2, 2))


def adaptation(model: HandModel, data: TrainingData, config: AdaptConfig) -> Adaptation:
    """Make an adaptation that is watched on its training data."""

    def watched() -> Agreement:
        return agreement(model, data.views, data.regressor, data.rho, config)

    return Adaptation(model, data, config, watched)


def coarse_maps(model: object, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return reduced images instead of the backbone's first maps, which take most of the time."""
    small = torch.from_numpy(images[:, 8::16, 8::16, :1]).permute(0, 3, 1, 2) / 255
    return small.expand(-1, 112, -1, -1).half(), small[:, 0].flatten(1)[:, :128].float()


def test_marks_are_those_of_the_program() -> None:
    points = np.random.default_rng(0).normal(size=(3, 21, 2))
    np.testing.assert_allclose(marks(torch.tensor(points)).numpy(), as_the_detector_marks_them(points), atol=1e-12)


@pytest.mark.slow
def test_learning_brings_the_answer_to_the_detector_and_repeats_itself(small: Exported) -> None:
    config, weights = AdaptConfig(epochs=4, head_rate=5e-3, teacher=0.0, labels_move_mesh=True), []
    cut_views = views(32)
    for _ in range(2):
        model = build_model(SMALL, load_open_hand())
        model.load_state_dict(small.model.state_dict())
        teacher = teacher_of(model, cut_views, 2, torch.arange(16), config)
        before = agreement(model, cut_views, regressor(), RHO, config)
        data = TrainingData(cut_views, teacher, regressor(), RHO)
        Trainer(adaptation(model, data, config)).fit()
        assert agreement(model, cut_views, regressor(), RHO, config).distance < 0.97 * before.distance
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
        if name.startswith(("landmark_head.", "backbone.first", "backbone.stem_blocks")):
            assert torch.equal(value, small.model.state_dict()[name]), name


@pytest.mark.slow
def test_without_improvement_it_ends_and_the_best_weights_are_those_of_before(small: Exported) -> None:
    model = build_model(SMALL, load_open_hand())
    model.load_state_dict(small.model.state_dict())
    cut_views, config = views(40), AdaptConfig(epochs=9, patience=2)
    data = TrainingData(cut_views, teacher_of(model, cut_views, 1, None, config), regressor(), RHO)
    task = Adaptation(model, data, config, lambda: Agreement(5.0, 1.0))
    trainer = Trainer(task)
    trainer.fit()
    # Every epoch has two batches, the second one of eight crops.
    assert (trainer.total_steps, trainer.step, task.epoch, task.best_epoch) == (18, 4, 2, 0)
    for name, value in task.best_weights.items():
        assert torch.equal(value, small.model.state_dict()[name]), name


@pytest.mark.slow
def test_a_teacher_that_stays_alone_changes_the_mesh_little(small: Exported) -> None:
    cut_views = views(16)
    moved = []
    for teacher_weight in (0.0, 100.0):
        config = AdaptConfig(epochs=3, head_rate=1e-3, teacher=teacher_weight, labels_move_mesh=True, neighbours=0.0)
        model = build_model(SMALL, load_open_hand())
        model.load_state_dict(small.model.state_dict())
        teacher = teacher_of(model, cut_views, 1, None, config)
        data = TrainingData(cut_views, teacher, regressor(), RHO)
        Trainer(adaptation(model, data, config)).fit()
        after = teacher_of(model, cut_views, 1, None, config)
        moved.append(float((after.mean_cm - teacher.mean_cm).abs().mean()))
    assert moved[1] < 0.7 * moved[0]


def test_the_teacher_is_the_mean_over_cuts_and_neighbours(small: Exported) -> None:
    cut_views, config = views(12), AdaptConfig(neighbours=1.0)
    alone = teacher_of(small.model, cut_views, 1, None, config).mean_cm.unflatten(0, (2, 6))
    numbers = torch.tensor([0, 1, 2, 50, 51, 90])
    found = teacher_of(small.model, cut_views, 2, numbers, config).mean_cm
    weights = np.exp(-0.5 * np.subtract.outer(numbers.numpy(), numbers.numpy()) ** 2)
    wanted = np.einsum("nm,mvc->nvc", weights / weights.sum(1, keepdims=True), alone.mean(0).numpy())
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


def test_the_camera_model_in_a_crop_is_what_the_image_was_squeezed_by() -> None:
    rng = np.random.default_rng(2)
    affines = rng.normal(size=(4, 2, 3))
    camera_model = intrinsics_in_crop(affines, 0.7)
    steps_px = rng.normal(size=(5, 2))  # in images of square pixels
    for affine, one in zip(affines, camera_model, strict=True):
        squeezed = steps_px * [1, 0.7] / np.sqrt(0.7)
        np.testing.assert_allclose(squeezed @ affine[:, :2].T, steps_px @ affine[:, :2].T @ one.T, atol=1e-12)
        assert np.linalg.det(one) == pytest.approx(1)


def test_parts_are_blocks_of_neighbours_and_together_all() -> None:
    parts = split_rows(100)
    together = np.concatenate([parts.fit, parts.watch, parts.held_out])
    assert sorted(together) == list(range(100))
    assert all(np.sum(np.diff(rows) > 1) <= 6 for rows in (parts.fit, parts.watch, parts.held_out))
    assert len(parts.held_out) == pytest.approx(25, abs=3)
    with raises(ErrorCode.NO_HANDS, match="47 images"):
        split_rows(47)


def test_between_finds_the_bottom_of_a_parabola() -> None:
    fractions = (0.5, 0.7, 1.0, 1.4, 2.0)
    found = between(fractions, [(np.log(fraction) - np.log(1.2)) ** 2 + 3 for fraction in fractions])
    assert found == pytest.approx(1.2, rel=1e-6)


@pytest.mark.parametrize(
    ("after", "better"),
    [
        (Agreement(4.0, 1.0), True),
        (Agreement(4.9, 1.0), False),  # too little
        (Agreement(4.0, 1.3), False),  # standard deviations match the errors less than before
        (Agreement(float("nan"), 1.0), False),
    ],
)
def test_what_is_kept(after: Agreement, better: bool) -> None:
    assert is_better(Agreement(5.0, 1.0), after) == better


def test_cuts_are_those_of_the_program_and_keypoints_follow(clip: ClipCrops) -> None:
    source = open_source(str(CLIP_FILE))
    frame = source.read()
    source.close()
    assert frame is not None
    wanted = crop_hand(frame.image, clip.detections[0])
    found = cuts_of(clip)
    np.testing.assert_array_equal(found.crops[0], wanted.image)
    np.testing.assert_allclose(found.affines[0], wanted.crop_from_image)
    higher = cuts_of(clip, height_fraction=1.3, rng=np.random.default_rng(0))
    assert np.ptp(higher.affines[:, :, :2].reshape(len(clip), -1), axis=0).max() > 0.01
    assert np.abs(found.keypoints).max() < 1
    assert np.abs(higher.keypoints).mean() == pytest.approx(np.abs(found.keypoints).mean(), rel=0.2)


def test_a_wide_cut_gives_nearly_the_crop_of_the_image(clip: ClipCrops) -> None:
    again = cuts_of(clip, height_fraction=1.0000001)
    difference = again.crops.astype(float) - cuts_of(clip).crops
    assert np.abs(difference).mean() < 2.0


@pytest.mark.slow
def test_adapting_decides_by_held_out_hands_and_writes_only_on_success(
    clip: ClipCrops, small: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "FRACTIONS", (0.8, 1.0, 1.25))
    monkeypatch.setattr(bench, "stem_maps", coarse_maps)
    monkeypatch.setattr(bench, "MAX_TRIED", 6)
    before = {name: value.clone() for name, value in small.model.state_dict().items()}
    outcome = bench.adapt(small, clip, load_open_hand(), AdaptConfig(epochs=2, head_rate=5e-3, teacher=0.0))
    assert outcome.kept
    assert outcome.after.distance < outcome.before.distance
    assert all(torch.equal(value, before[name]) for name, value in small.model.state_dict().items())
    out = tmp_path / "adapted"
    check_out(out)
    path = write_outcome(outcome, small, load_open_hand(), out, {"input": "clip"})
    assert sorted(item.name for item in out.iterdir()) == ["adaptation.json", path.name]


def test_an_interruption_leaves_nothing_half_written(
    clip: ClipCrops, small: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(exported: object, path: Path, names: object, **_: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("handviz.models.amvur.export.write_onnx", interrupted)
    rows, same = split_rows(50), Agreement(1.0, 1.0)
    outcome = bench.Outcome(small.model, small.metadata, same, same, 1, True, rows, torch.zeros(3, 3, 224, 224), 1.0)
    with pytest.raises(KeyboardInterrupt):
        write_outcome(outcome, small, load_open_hand(), tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_shipped_networks_are_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", str(CLIP_FILE), "--out", str(MODELS)]) == 1
    assert "which adapt never overwrites: choose another --out" in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    assert main(["adapt", str(CLIP_FILE), "--out", str(tmp_path / "file" / "out")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_clip_without_hands_says_how_many_are_needed() -> None:
    black: Iterator[Frame] = (Frame(number, np.zeros((120, 160, 3), np.uint8), 0.0) for number in range(3))
    hands = crops_of_frames(black, follows=True, side="detected", total=3)
    assert len(hands) == 0
    with raises(ErrorCode.NO_HANDS):
        split_rows(len(hands))


def test_a_damaged_clip_and_senseless_numbers_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip at all")
    assert main(["adapt", str(broken), "--out", str(tmp_path / "out")]) == 1
    assert "broken.mp4" in capsys.readouterr().err
    with wrong_usage():
        main(["adapt", str(broken), "--out", str(tmp_path / "out"), "--every", "0"])
    assert "--every" in capsys.readouterr().err


def test_rows_keep_hands_together(clip: ClipCrops) -> None:
    chosen = clip.rows(np.array([3, 7]))
    assert [hand is clip.detections[row] for hand, row in zip(chosen.detections, (3, 7), strict=True)] == [True, True]
    assert np.array_equal(chosen.crops, clip.crops[[3, 7]])
    assert replace(chosen, frames=0).frames == 0
