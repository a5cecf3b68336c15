"""Official evaluation on rendered hands behind a dataset's interface: known predictions have known figures."""

import csv
import json
import zipfile
from dataclasses import replace

import independent
import numpy as np
import pytest
from fake_dataset import FakeDataset, fake_dataset, says, true_answer

from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.images import UsableImages
from handviz.data.datasets.registry import open_dataset
from handviz.evaluation.official import Evaluation, Options, accelerations, evaluate, with_truth
from handviz.evaluation.predictions import TIPS, Prediction, predictions, true_crop, true_vertices_m
from handviz.evaluation.protocols import clip_of, frame_of, protocol_of, sequence_of
from handviz.evaluation.report import draw_pck, error_table, report, write_csv
from handviz.evaluation.submissions import Submission, server_points
from handviz.hand_models.open_hand import load_open_hand
from tests.errors import raises
from tests.fake_datasets.dexycb import write as write_dexycb
from tests.fake_datasets.stand_in_mano import stand_in_template

COUNT = 8


@pytest.fixture(scope="module")
def dataset() -> FakeDataset:
    return fake_dataset(COUNT)


@pytest.fixture(scope="module")
def noisy(dataset):
    random = np.random.default_rng(2)
    return [true_answer(hand, 0.004, random) for hand in dataset.hands]


@pytest.fixture(scope="module")
def kept(dataset, noisy) -> list[Prediction]:
    return list(predictions(UsableImages(dataset), range(COUNT), says(noisy), stand_in_template(), find=true_crop))


@pytest.fixture(scope="module")
def evaluation(dataset, noisy) -> Evaluation:
    return evaluate(dataset, says(noisy), stand_in_template())


def test_a_network_without_error_has_none_left_or_right(dataset):
    found = evaluate(dataset, says([true_answer(hand) for hand in dataset.hands]), stand_in_template())
    assert set(found.handedness) == {"left", "right"}
    for name in ("root_mpjpe_mm", "root_mpvpe_mm", "procrustes_mpjpe_mm", "procrustes_mpvpe_mm"):
        assert found.scores.columns[name].max() < 0.01, name
    assert found.scores.columns["scale_translation_mpjpe_mm"].max() < 0.01
    assert found.scores.columns["root_f5"].min() == 1
    # Weak perspective knows the depth roughly.
    assert found.scores.columns["absolute_mpjpe_mm"].max() < 80


def test_figures_are_those_of_the_independent_implementation(dataset, kept, evaluation):
    slow = independent.measures(
        [one.keypoints_m for one in kept],
        [hand.keypoints_m for hand in dataset.annotations],
        [one.vertices_m for one in kept],
        [hand.vertices_m for hand in dataset.annotations],
    )
    assert slow["procrustes_mpvpe_mm"] > 3
    for name, value in slow.items():
        assert evaluation.scores.columns[name].mean() == pytest.approx(value, abs=1e-6), name
        low, high = evaluation.intervals[name]
        assert low <= value + 1e-9
        assert high >= value - 1e-9


def test_fingertips_are_the_datasets_own(dataset, noisy, kept):
    other = FakeDataset(dataset.hands, dataset.annotations, tip_vertices=(0, 1, 2, 3, 4))
    found = list(predictions(UsableImages(other), range(2), says(noisy), stand_in_template(), find=true_crop))
    for one, before in zip(found, kept[:2], strict=True):
        np.testing.assert_allclose(one.keypoints_m[[4, 8, 12, 16, 20]], before.vertices_m[:5])
        np.testing.assert_allclose(
            np.delete(one.keypoints_m, [4, 8, 12, 16, 20], 0), np.delete(before.keypoints_m, [4, 8, 12, 16, 20], 0)
        )


def test_another_hand_models_vertices_are_not_compared(dataset, noisy):
    found = evaluate(dataset, says(noisy), load_open_hand())
    assert "root_mpjpe_mm" in found.scores.columns
    assert not any("mpvpe" in name or "f5" in name for name in found.scores.columns)
    assert list(found.std) == ["keypoints"]
    assert "| – |" in error_table(found)
    assert "no vertex figures" in report(found, "crops")


def test_uncertainties_are_judged_as_on_the_card(evaluation):
    # An error of 4 mm on each axis at a std of 5 mm is covered to 79 %, less the wrist's own error.
    assert evaluation.std["vertices"]["std_mm"] == pytest.approx(5 * np.sqrt(3), rel=1e-5)
    assert 0.68 < evaluation.std["vertices"]["coverage_68"] < 0.79
    assert set(evaluation.std) == {"keypoints", "vertices"}
    np.testing.assert_allclose(evaluation.mean_std_mm["keypoints"], 5 * np.sqrt(3), rtol=1e-5)


def test_the_report_says_split_count_crops_and_what_is_official(evaluation):
    text = report(evaluation, "crops of the true keypoints")
    assert "freihand/evaluation: 8 samples (the official split has 3,960), crops of the true keypoints" in text
    assert "Procrustes *" in text
    assert "root (wrist on wrist) |" in text
    mean = evaluation.scores.columns["procrustes_mpjpe_mm"].mean()
    assert f"{mean:.2f} (" in text
    assert "95 % interval covers" in text


@pytest.mark.parametrize("name", ["rhd", "stb"])
def test_datasets_of_joints_alone_have_the_area_from_20_mm_and_the_true_scale(dataset, noisy, tmp_path, name):
    joints = [replace(hand, vertices_m=None) for hand in dataset.annotations]
    of_joints, template = FakeDataset(dataset.hands, joints, name=name, tip_vertices=None), stand_in_template()
    found = evaluate(of_joints, says(noisy), template)
    errors_mm = []
    for one in predictions(UsableImages(of_joints), range(COUNT), says(noisy), template, find=true_crop):
        # Without vertices that the dataset calls fingertips the network's own are compared.
        lengths, own = (
            np.linalg.norm(points[4] - points[3]) for points in (one.keypoints_m, one.canonical.keypoints_m)
        )
        assert lengths == pytest.approx(own)
        predicted, truth = (points - points[0] for points in (one.keypoints_m, one.hand.keypoints_m))
        factor = np.linalg.norm(truth[10] - truth[9]) / np.linalg.norm(predicted[10] - predicted[9])
        errors_mm.append(1000 * np.linalg.norm(factor * predicted - truth, axis=1))
    columns = found.scores.columns
    assert not any("mpvpe" in column or "f5" in column for column in columns)
    assert columns["bone_scale_mpjpe_mm"].mean() == pytest.approx(np.mean(errors_mm), abs=1e-6)
    counted = independent.area_of_thresholds(errors_mm, 20.0, 50.0, 3001)
    assert columns["bone_scale_upper_auc_keypoints"].mean() == pytest.approx(counted, abs=2e-3)
    text = report(found, "crops")
    assert "| AUC of 20 to 50 mm, joints |" in text
    assert "| root and true scale (middle finger) * |" in text
    assert draw_pck({name: found}, tmp_path / "pck.png").stat().st_size > 10_000


def test_warnings_of_the_reader_are_told(dataset, noisy):
    told = FakeDataset(dataset.hands, dataset.annotations, warnings=["3 images were damaged."])
    assert "3 images were damaged." in report(evaluate(told, says(noisy), stand_in_template()), "crops")


def test_the_table_of_samples_has_every_error(evaluation, tmp_path):
    write_csv(evaluation, tmp_path / "samples.csv")
    with (tmp_path / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(evaluation.names)
    assert {row["handedness"] for row in rows} == {"left", "right"}
    for name, values in evaluation.scores.columns.items():
        np.testing.assert_allclose([float(row[name]) for row in rows], values, atol=1e-6)
    assert float(rows[0]["mean_std_vertices_mm"]) == pytest.approx(8.66, abs=0.01)
    with raises(ErrorCode.NOT_WRITABLE):
        write_csv(evaluation, tmp_path / "none" / "samples.csv")


def test_curves_become_an_image(evaluation, tmp_path):
    assert draw_pck({"final": evaluation}, tmp_path / "pck.png").stat().st_size > 10_000
    with raises(ErrorCode.UNSUPPORTED_FORMAT):
        draw_pck({"final": evaluation}, tmp_path / "pck.txt")


def test_answers_that_are_not_finite_are_named(dataset, noisy):
    broken = [noisy[0], replace(noisy[1], vertices_m=noisy[1].vertices_m * np.nan), *noisy[2:]]
    with raises(ErrorCode.NOT_FINITE, match="S1/0000"):
        evaluate(dataset, says(broken), stand_in_template())


def test_a_split_without_truth_is_a_message(dataset, noisy):
    blind = FakeDataset(dataset.hands, [replace(hand, keypoints_m=None) for hand in dataset.annotations])
    with raises(ErrorCode.NOT_PROVIDED):
        evaluate(blind, says(noisy), stand_in_template())


def test_some_samples_are_spread_over_the_split(dataset):
    assert with_truth(dataset, 3) == [0, 4, 7]
    assert with_truth(dataset, 99) == list(range(COUNT))


def test_hands_that_the_detector_misses_are_left_out_and_counted(dataset, noisy):
    def find(hand, image):
        return None if hand.name.startswith("S1") else true_crop(hand, image)

    found = evaluate(dataset, says(noisy[::2]), stand_in_template(), Options(find=find))
    assert len(found.names) == COUNT // 2
    assert "4 of 8 hands were not found and are left out" in report(found, "crops")
    with raises(ErrorCode.NO_HANDS):
        evaluate(dataset, says(noisy), stand_in_template(), Options(find=lambda *_: None))


def test_images_that_cannot_be_read_stop_or_are_left_out_and_counted(dataset, noisy):
    class Broken(FakeDataset):
        def image(self, index):
            if index % 2:
                raise HandvizError(f"{index}.jpg is cut off.", ErrorCode.OPTION_CONFLICT)
            return super().image(index)

    broken = Broken(dataset.hands, dataset.annotations)
    with pytest.raises(HandvizError, match=r"1\.jpg is cut off\. --bad-images skip"):
        evaluate(broken, says(noisy), stand_in_template())
    found = evaluate(broken, says(noisy[::2]), stand_in_template(), Options(bad_images="skip"))
    assert len(found.names) == COUNT // 2
    text = report(found, "crops")
    assert "4 images could not be used and were left out, the first: 1.jpg is cut off." in text
    assert "were not found" not in text


def test_acceleration_is_measured_where_frames_follow_each_other():
    random = np.random.default_rng(0)
    names = ["a/0003", "a/0001", "a/0002", "a/0005", "b/0001", "b/0002", "b/0003", "b/0004", "alone"]
    truth, found = random.normal(size=(2, len(names), 21, 3))
    errors = accelerations(names, ["right"] * len(names), found, truth)
    difference = found - truth
    expected = [
        difference[one] - 2 * difference[two] + difference[three]
        for one, two, three in ((1, 2, 0), (4, 5, 6), (5, 6, 7))
    ]
    np.testing.assert_allclose(errors["absolute"], [1000 * np.linalg.norm(one, axis=1).mean() for one in expected])
    assert len(errors["root"]) == 3
    sides = ["right", "left", "right", *["right"] * 6]
    assert len(accelerations(names, sides, found, truth)["root"]) == 2


def independent_reader(path):
    """Read a submission as its scorer does: unpack it and read two lists."""
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pred.json"]
        keypoints, vertices = json.loads(archive.read("pred.json"))
    return np.array(keypoints), np.array(vertices)


def test_freihands_submission_scores_as_the_evaluation(dataset, kept, evaluation, tmp_path):
    submission = Submission(dataset, stand_in_template())
    submission.add(kept[:5])
    submission.add(kept[5:])
    assert "will refuse" in submission.write(tmp_path / "pred.zip")
    keypoints, vertices = independent_reader(tmp_path / "pred.zip")
    slow = independent.measures(
        keypoints,
        [hand.keypoints_m for hand in dataset.annotations],
        vertices,
        [hand.vertices_m for hand in dataset.annotations],
    )
    for name, value in slow.items():
        assert evaluation.scores.columns[name].mean() == pytest.approx(value, abs=2e-6), name


def test_ho3ds_submission_is_in_its_axes_and_order(dataset, kept, evaluation, tmp_path):
    ho3d = FakeDataset(dataset.hands, dataset.annotations, name="ho3d_v3")
    submission = Submission(ho3d, stand_in_template())
    submission.add(kept)
    submission.write(tmp_path / "pred.zip")
    keypoints, vertices = independent_reader(tmp_path / "pred.zip")
    assert (keypoints[..., 2] < 0).all()
    assert (vertices[..., 2] < 0).all()
    # vis_HO3D.py's map from its order to thumb, index, middle, ring, little.
    simple = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    slow = independent.measures(
        keypoints[:, simple] * [1, -1, -1],
        [hand.keypoints_m for hand in dataset.annotations],
        vertices * [1, -1, -1],
        [hand.vertices_m for hand in dataset.annotations],
    )
    for name in ("mpjpe_mm", "mpvpe_mm", "f5"):
        # The wrist was given, so the server's unaligned errors are those from the wrist.
        assert slow[f"absolute_{name}"] == pytest.approx(evaluation.scores.columns[f"root_{name}"].mean(), abs=2e-6)
    assert slow["procrustes_mpjpe_mm"] == pytest.approx(
        evaluation.scores.columns["procrustes_mpjpe_mm"].mean(), abs=2e-6
    )
    # Its alignment by scale takes joint 4, the middle knuckle, in its own order.
    np.testing.assert_allclose(server_points("ho3d_v3", kept[0])[0][4], keypoints[0, 4], atol=1e-9)
    assert slow["scale_translation_mpjpe_mm"] == pytest.approx(
        evaluation.scores.columns["scale_translation_mpjpe_mm"].mean(), abs=2e-6
    )


@pytest.mark.parametrize(("name", "split"), [("dexycb", "evaluation"), ("freihand", "training")])
def test_there_is_no_server_for_other_splits(dataset, name, split):
    with raises(ErrorCode.NOT_PROVIDED):
        Submission(FakeDataset(dataset.hands, dataset.annotations, name=name, split=split), stand_in_template())


def test_a_submission_needs_manos_mesh(dataset):
    with raises(ErrorCode.MODEL_MISMATCH, match="--hand-model"):
        Submission(dataset, load_open_hand())


def test_one_sequence_has_no_interval(dataset, noisy):
    names = [replace(hand, name=f"S1/{hand.handedness}/{row // 2}") for row, hand in enumerate(dataset.annotations)]
    found = evaluate(FakeDataset(dataset.hands, names, name="ho3d_v2"), says(noisy), stand_in_template())
    text = report(found, "crops", 30.0)
    assert "no intervals" in text
    assert "(the official split has 11,524)" in text
    # Four frames of each hand follow each other.
    assert "acceleration error over 4 frames" in text
    assert f"({900 * found.acceleration_mm['root'].mean():,.0f} and " in text
    assert "mm/s²" not in report(found, "crops")


def test_vertices_that_a_dataset_gives_as_parameters_are_posed_left_and_right(tmp_path):
    write_dexycb("dexycb", tmp_path / "data", 2)
    dexycb, template = open_dataset(f"dexycb/s0_test:{tmp_path / 'data'}"), stand_in_template()
    sides = set()
    for index in range(len(dexycb)):
        hand = dexycb.hand(index)
        sides.add(hand.handedness)
        assert hand.vertices_m is None
        tips = dexycb.tip_vertices if hand.handedness == "right" else protocol_of("dexycb").left_tip_vertices
        posed = true_vertices_m(hand, template)
        np.testing.assert_allclose(posed[list(tips)], hand.keypoints_m[list(TIPS)], atol=1e-5)
    assert sides == {"left", "right"}
    assert true_vertices_m(hand, load_open_hand()) is None


@pytest.mark.parametrize(
    ("dataset_name", "name", "sequence", "clip", "frame"),
    [
        ("freihand", "00000012", "00000012", ".", None),
        ("ho3d_v2", "SM1/0042", "SM1", "SM1", 42),
        ("dexycb", "20200709-subject-01/20200709_141754/836212060125/000007", "20200709-subject-01/20200709_141754",
         "20200709-subject-01/20200709_141754/836212060125", 7),
        ("hanco", "rgb/0003/cam5/00000010", "rgb/0003", "rgb/0003/cam5", 10),
        ("rhd", "00012", "00012", ".", None),
        ("stb", "B1Counting/BB_left/0042", "B1Counting", "B1Counting/BB_left", 42),
    ],
)  # fmt: skip
def test_names_tell_sequence_clip_and_frame(dataset_name, name, sequence, clip, frame):
    assert sequence_of(name, protocol_of(dataset_name)) == sequence
    assert (clip_of(name), frame_of(name)) == (clip, frame)


def test_an_unknown_dataset_has_no_protocol():
    with raises(ErrorCode.UNKNOWN_NAME):
        protocol_of("interhand")
