"""Training reads datasets: deterministic crops, mixtures with rendered hands, images that cannot be read."""

import importlib
import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.data.datasets.cut import cut
from handviz.data.datasets.images import BadImages, UsableImages
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.model import ModelConfig
from handviz.models.amvur.training_config import TrainConfig
from handviz.training.config import as_metadata, changes
from handviz.training.dataset_samples import DatasetSamples, Drawing, JoinedSamples, at_step, load_samples
from tests.errors import raises
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.stand_in_mano import stand_in_template
from tests.memory_dataset import MemoryDataset, annotated, reader_of
from tests.small_trainings import amvur_run, assert_same, run_steps

TEMPLATE = stand_in_template()
SMALL = ModelConfig(variant="prior", width=16, regressor_width=16, features="global")


@pytest.fixture(scope="module")
def hands() -> list[TinyHand]:
    return list(tiny_hands(8, seed=5, size=(160, 120), sides=("right", "left")))


@pytest.fixture
def opened(hands: list[TinyHand], monkeypatch: pytest.MonkeyPatch) -> MemoryDataset:
    """Open this for every spec of freihand."""
    dataset = MemoryDataset(hands)
    monkeypatch.setitem(sys.modules, "handviz.data.datasets.freihand", reader_of(dataset))
    return dataset


def samples(dataset: MemoryDataset, bad_images: BadImages = "stop", **drawing: object) -> DatasetSamples:
    images = UsableImages(dataset, bad_images)
    return DatasetSamples(images, TEMPLATE, np.arange(len(dataset)), Drawing(**drawing))


def test_a_batch_holds_the_crops_and_the_truth_of_its_samples(hands: list[TinyHand]) -> None:
    ids = torch.tensor([5, 0, 3])
    images, truth = samples(MemoryDataset(hands)).batch(ids)
    assert images.shape == (3, 3, 224, 224)
    for row, number in enumerate(ids.tolist()):
        labels, image = cut(annotated(hands[number]), hands[number].image, TEMPLATE)
        np.testing.assert_allclose(images[row].permute(1, 2, 0) * 255, image, atol=1e-3)
        rotated_m = truth.vertices_cm[row].double().numpy() / 100 @ labels["camera_from_wrist"].T
        np.testing.assert_allclose(rotated_m + labels["wrist_camera_m"], hands[number].vertices_m, atol=1e-5)
        for name in ("rotation", "translation", "keypoints_crop"):
            np.testing.assert_allclose(getattr(truth, name)[row], labels[name], atol=1e-5)
        assert truth.scale_per_cm[row] * 100 == pytest.approx(float(labels["scale"]), rel=1e-5)


def test_the_truth_of_all_is_that_of_the_still_crops(hands: list[TinyHand]) -> None:
    dataset = MemoryDataset(hands)
    whole = samples(dataset, seed=1).truth
    _, still = samples(dataset).batch(torch.arange(8))
    assert torch.equal(whole.keypoints_crop, still.keypoints_crop)
    assert torch.equal(whole.vertices_cm, still.vertices_cm)


def test_jitter_depends_on_seed_step_and_sample_alone(hands: list[TinyHand]) -> None:
    drawn = samples(MemoryDataset(hands), seed=4).at_step(7)
    first, _ = drawn.batch(torch.tensor([1, 2, 6]))
    again, truth = drawn.batch(torch.tensor([6, 1]))
    assert torch.equal(first[[2, 0]], again)
    assert truth.rotation.dtype == torch.float32
    for other in (drawn.at_step(8), samples(MemoryDataset(hands), seed=5).at_step(7)):
        assert not torch.equal(other.batch(torch.tensor([6]))[0][0], again[0])


def test_an_image_that_cannot_be_read_stops(hands: list[TinyHand]) -> None:
    with raises(ErrorCode.FILE_DAMAGED, match=r"00000003\.jpg .*--bad-images skip"):
        samples(MemoryDataset(hands, broken=(3,))).batch(torch.tensor([2, 3]))


def test_or_the_next_one_takes_its_place(hands: list[TinyHand], caplog: pytest.LogCaptureFixture) -> None:
    broken = samples(MemoryDataset(hands, broken=(3, 4)), bad_images="skip", seed=1)
    with caplog.at_level(logging.WARNING):
        images, truth = broken.batch(torch.tensor([3, 7]))
        wanted, known = samples(MemoryDataset(hands), seed=1).batch(torch.tensor([5, 7]))
        assert torch.equal(images, wanted)
        assert torch.equal(truth.vertices_cm, known.vertices_cm)
        broken.at_step(3).batch(torch.tensor([3]))
    assert broken.images.warnings == (
        "2 images could not be used and were left out, the first: 00000003.jpg is cut off.",
    )
    assert set(broken.images.bad) == {3, 4}
    assert sorted(record.message.split(" Left out")[0] for record in caplog.records) == [
        "00000003.jpg is cut off.",
        "00000004.jpg is cut off.",
    ]


def test_a_dataset_without_one_good_image_is_no_endless_search(hands: list[TinyHand]) -> None:
    with raises(ErrorCode.EMPTY_INPUT, match="100 images"):
        samples(MemoryDataset(hands, broken=tuple(range(8))), bad_images="skip").batch(torch.tensor([0]))


def test_a_dataset_without_3d_truth_is_refused_and_may_be_wanted(hands: list[TinyHand]) -> None:
    with raises(ErrorCode.NOT_PROVIDED, match="00000000 of freihand/training"):
        samples(MemoryDataset(hands, flat=True)).batch(torch.tensor([0]))
    _, truth = samples(MemoryDataset(hands, flat=True), whole_truth=False).batch(torch.arange(2))
    assert truth.vertices_cm.isnan().all()
    assert truth.keypoints_crop.isfinite().all()
    open_hand = replace(samples(MemoryDataset(hands)), template=load_open_hand())
    with raises(ErrorCode.NOT_PROVIDED, match=r"MANO_RIGHT\.pkl with --hand-model"):
        open_hand.batch(torch.tensor([0]))


@pytest.mark.parametrize("name", ["rhd", "stb"])
def test_joints_alone_train_weakly_and_are_refused_otherwise(name: str, tmp_path: Path) -> None:
    """Their 2D keypoints are known, left hands' in the mirror, and nothing of a mesh."""
    importlib.import_module(f"tests.fake_datasets.{name}").write(name, tmp_path, 2)
    template, spec = load_open_hand(), f"{name}:{tmp_path}"
    with raises(ErrorCode.NOT_PROVIDED, match="--supervision weak"):
        load_samples([spec], template, None, Drawing()).batch(torch.arange(2))
    known = load_samples([spec], template, None, Drawing(whole_truth=False))
    assert isinstance(known, DatasetSamples)
    images, truth = known.batch(torch.arange(2))
    assert images.shape == (2, 3, 224, 224)
    assert truth.vertices_cm.isnan().all()
    for row in range(2):
        hand = known.dataset.hand(row)
        expected = cut(hand, known.dataset.image(row), template).labels["keypoints_crop"]
        np.testing.assert_allclose(truth.keypoints_crop[row], expected, atol=1e-6)
        assert truth.keypoints_crop[row, 0, 1] > truth.keypoints_crop[row, 9, 1], "the wrist is below"


@pytest.mark.parametrize("name", ["rhd", "stb"])
def test_joints_in_3d_and_their_camera_are_truth_where_they_suffice(name: str, tmp_path: Path) -> None:
    """Weak perspective of the joints is near their keypoints in the crop, and both are those of a right hand."""
    importlib.import_module(f"tests.fake_datasets.{name}").write(name, tmp_path, 2)
    known = load_samples([f"{name}:{tmp_path}"], load_open_hand(), None, Drawing(joints_suffice=True))
    assert isinstance(known, DatasetSamples)
    _, truth = known.batch(torch.arange(2))
    assert truth.vertices_cm.isnan().all()
    assert truth.rotation.isnan().all()
    seen = truth.scale_per_cm[:, None, None] * truth.joints_cm[..., :2] + truth.translation[:, None]
    assert float((seen - truth.keypoints_crop).norm(dim=2).mean()) < 0.1
    for row in range(2):
        hand = known.dataset.hand(row)
        assert hand.keypoints_m is not None
        lengths = np.linalg.norm(np.diff(hand.keypoints_m[[0, 9, 10, 11, 12]], axis=0), axis=1) * 100
        mine = truth.joints_cm[row, [0, 9, 10, 11, 12]].diff(dim=0).norm(dim=1)
        np.testing.assert_allclose(mine, lengths, rtol=1e-4)


def test_datasets_and_rendered_hands_mix(opened: MemoryDataset, rendered_hands: Path) -> None:
    template = load_open_hand()
    drawing = Drawing(3, whole_truth=False)
    mixed = load_samples(["freihand:x", rendered_hands, rendered_hands, "freihand:x"], template, 75, drawing)
    assert isinstance(mixed, JoinedSamples)
    assert [len(part) for part in mixed.parts] == [8, 64, 3]
    ids = torch.tensor([74, 8, 2, 9, 72])
    images, truth = at_step(mixed, 5).batch(ids)
    dataset, rendered = at_step(mixed.parts[0], 5), mixed.parts[1]
    assert torch.equal(images[[0, 2, 4]], dataset.batch(torch.tensor([2, 2, 0]))[0])
    assert torch.equal(images[[1, 3]], rendered.batch(torch.tensor([0, 1]))[0])
    assert torch.equal(truth.vertices_cm[[1, 3]], rendered.truth.vertices_cm[:2])
    assert truth.vertices_cm[[0, 2, 4]].isnan().all()
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def config(tmp_path: Path, opened: MemoryDataset) -> TrainConfig:
    return TrainConfig(
        data=("freihand:x",),
        run=tmp_path / "run",
        model=SMALL,
        end_to_end=True,
        validation="freihand/evaluation:x",
        epochs=2,
        batch_size=4,
        warm_up_steps=1,
    )


@pytest.mark.slow
def test_training_on_a_dataset_resumes_to_the_bit(config: TrainConfig) -> None:
    straight = amvur_run(config, TEMPLATE)
    losses = run_steps(straight)
    assert len(losses) == 4
    stopped = amvur_run(config, TEMPLATE)
    assert run_steps(stopped, 3) == losses[:3]
    stopped.save()
    resumed = amvur_run(config, TEMPLATE)
    resumed.resume()
    assert run_steps(resumed) == losses[3:]
    assert_same(resumed.task.network.state_dict(), straight.task.network.state_dict())
    watched = straight.task.validation
    assert watched is not None
    assert torch.equal(watched.batch(torch.arange(8))[0], watched.batch(torch.arange(8))[0])


def test_notes_know_the_dataset_again(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noted = as_metadata(config)
    assert changes(config, noted) == []
    assert changes(replace(config, data=(f"freihand:{tmp_path / 'x'}",)), noted) == []
    assert len(changes(replace(config, data=("freihand/evaluation:x",)), noted)) == 1


def test_cached_training_refuses_a_dataset(config: TrainConfig) -> None:
    with raises(ErrorCode.OPTION_CONFLICT, match="--end-to-end"):
        amvur_run(replace(config, end_to_end=False), TEMPLATE)


def test_validation_is_from_all_over_the_split(opened: MemoryDataset) -> None:
    watched = load_samples(["freihand:x"], TEMPLATE, 3, Drawing())
    assert isinstance(watched, DatasetSamples)
    assert watched.rows.tolist() == [0, 3, 7]
