"""The model card: known predictions give known numbers, and a checkpoint and its ONNX file the same ones."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation

from handviz.__main__ import main
from handviz.cli import evaluate as command
from handviz.core.errors import ErrorCode
from handviz.core.metrics import pa_mpjpe_mm
from handviz.core.paths import MODELS, model_file
from handviz.core.records import NetworkOutput
from handviz.data.synthetic.dataset import Crops, read_shard
from handviz.data.synthetic.generator import labels_file
from handviz.evaluation.card import CARD_ROWS, card, card_table, means_by_part
from handviz.evaluation.evaluate import checkpoint_predictor, collect, keypoints_visible, mediapipe_by_part
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_inner_prior import inner_prior
from handviz.models.backbones.mediapipe_hand import load_mediapipe_landmark_net
from handviz.training.samples import image_batch, truth_from_labels
from tests.errors import raises, wrong_usage
from tests.small_trainings import with_empty_crops

HANDS = 32


@pytest.fixture(scope="module")
def shards(rendered_hands):
    return [read_shard(rendered_hands, number) for number in (0, 1)]


@pytest.fixture(scope="module")
def perfect(shards, template):
    """Return predictions without error, with a standard deviation of 5 mm on every axis."""
    hands = []
    for shard in shards:
        for vertices, rotation in zip(
            truth_from_labels(shard.labels, template).vertices_cm.numpy() / 100, shard.labels["rotation"], strict=True
        ):
            keypoints = template.keypoint_regressor @ vertices
            std = np.full((778, 3), 0.005), np.full((21, 3), 0.005)
            hands.append(NetworkOutput(vertices, keypoints, rotation, 8.0, np.zeros(2), std[0], std[1]))
    return hands


def says(hands):
    """Return a predictor that returns these hands one after the other."""
    left = iter(hands)
    return lambda images: [next(left) for _ in images]


@pytest.fixture
def card_of(rendered_hands, template):
    return lambda hands: card(collect([Crops(rendered_hands)], says(hands), template))


@pytest.fixture
def answers_of(rendered_hands, template):
    return lambda hands: collect([Crops(rendered_hands)], says(hands), template)


def test_a_perfect_answer_has_no_error(card_of, perfect):
    found = card_of(perfect)
    np.testing.assert_allclose([found.mpjpe_mm, found.pa_mpjpe_mm, found.pa_mpvpe_mm], 0, atol=1e-3)
    assert (found.f5, found.f15) == (1, 1)
    assert (found.coverage_68, found.coverage_95) == (1, 1)
    assert (found.keypoint_coverage_68, found.keypoint_coverage_95) == (1, 1)
    # Half a centimetre: the density's height at its mean.
    assert found.nll == pytest.approx(np.log(0.5 * np.sqrt(2 * np.pi)), abs=1e-6)
    assert found.std_mm == pytest.approx(5 * np.sqrt(3))
    assert found.hidden_over_visible == pytest.approx(1)


def test_the_rotation_s_error_is_its_angle_and_nothing_else(card_of, perfect):
    """Half of the hands turned by 10 degrees about any axis, half by 30, all of them 1.2 times as large."""
    turns = [Rotation.from_rotvec(np.radians(10 if row % 2 else 30) * np.eye(3)[row % 3]) for row in range(HANDS)]
    found = card_of(
        [
            replace(
                hand,
                rotation=turn.as_matrix() @ hand.rotation,
                keypoints_m=1.2 * hand.keypoints_m,
                vertices_m=1.2 * hand.vertices_m,
            )
            for hand, turn in zip(perfect, turns, strict=True)
        ]
    )
    assert (found.rotation_median_deg, found.rotation_mean_deg) == pytest.approx((20, 20), abs=0.05)
    size_mm = [1000 * np.linalg.norm(hand.keypoints_m - hand.keypoints_m[0], axis=1).mean() for hand in perfect]
    assert found.mpjpe_true_rotation_mm == pytest.approx(0.2 * np.mean(size_mm), rel=1e-4)
    assert found.mpjpe_true_rotation_size_mm == pytest.approx(0, abs=1e-3)
    assert found.mpjpe_mm > found.mpjpe_true_rotation_mm


def test_crops_without_a_hand_count_in_no_error(rendered_hands, perfect, template, tmp_path):
    """The model is asked about hands alone; up to a limit, crops without one are counted."""
    shows = with_empty_crops(rendered_hands, tmp_path / "some")
    for limit in (None, 20):
        hands = [hand for hand, is_hand in zip(perfect, shows[:limit], strict=False) if is_hand]
        answers = collect([Crops(tmp_path / "some", limit)], says(hands), template)
        assert len(answers.std_m) == len(hands) < (limit or HANDS)
        assert card(answers).mpjpe_mm == pytest.approx(0, abs=1e-3)
    for shard in range(2):
        path = labels_file(tmp_path / "some", shard)
        with np.load(path) as columns:
            labels = dict(columns)
        np.savez(path, **labels | {"is_hand": np.zeros_like(labels["is_hand"])})
    with raises(ErrorCode.EMPTY_INPUT, match="shows a hand"):
        collect([Crops(tmp_path / "some")], says([]), template)


def test_a_shift_does_not_count_where_the_wrist_is_the_origin(card_of, perfect):
    shift = np.array([0.004, 0.0, 0.0])
    found = card_of(
        [replace(hand, vertices_m=hand.vertices_m + shift, keypoints_m=hand.keypoints_m + shift) for hand in perfect]
    )
    assert found.mpjpe_mm == pytest.approx(0, abs=1e-3)
    # But it does in the intervals: 4 mm lie inside 5 mm, on one axis of three.
    assert found.coverage_68 == 1
    found = card_of(
        [
            replace(hand, vertices_m=hand.vertices_m + 1.5 * shift, keypoints_m=hand.keypoints_m + 1.5 * shift)
            for hand in perfect
        ]
    )
    assert found.coverage_68 == pytest.approx(2 / 3)
    assert found.coverage_95 == 1


def test_size_and_view_count_until_hands_are_aligned(card_of, perfect, shards, template):
    truth = np.stack([hand.keypoints_m - hand.keypoints_m[0] for hand in perfect])
    reach_mm = 1000 * np.linalg.norm(truth, axis=2).mean()
    larger = card_of(
        [replace(hand, vertices_m=1.1 * hand.vertices_m, keypoints_m=1.1 * hand.keypoints_m) for hand in perfect]
    )
    assert larger.mpjpe_mm == pytest.approx(0.1 * reach_mm, rel=1e-3)
    turn = Rotation.from_rotvec([0, 0, np.pi]).as_matrix()
    turned = card_of([replace(hand, rotation=turn @ hand.rotation) for hand in perfect])
    assert turned.mpjpe_mm > 0.5 * reach_mm
    for found in (larger, turned):
        np.testing.assert_allclose([found.pa_mpjpe_mm, found.pa_mpvpe_mm], 0, atol=1e-3)
        assert found.f5 == 1


def test_one_wrong_keypoint_of_21_counts_as_one_of_21(card_of, perfect):
    def moved(hand):
        keypoints = hand.keypoints_m.copy()
        keypoints[8] += hand.rotation.T @ [0.0, 0.021, 0.0]
        return replace(hand, keypoints_m=keypoints)

    found = card_of([moved(hand) for hand in perfect])
    assert found.mpjpe_mm == pytest.approx(1.0, abs=1e-3)
    assert 0.3 < found.pa_mpjpe_mm < 3
    assert found.pa_mpvpe_mm == pytest.approx(0, abs=1e-3)


def test_f_scores_count_vertices_that_are_off(card_of, perfect):
    random = np.random.default_rng(0)
    found = card_of(
        [replace(hand, vertices_m=hand.vertices_m + random.normal(scale=0.008, size=(778, 3))) for hand in perfect]
    )
    assert 0.2 < found.f5 < 0.9 < found.f15
    assert found.pa_mpvpe_mm == pytest.approx(8 * np.sqrt(8 / np.pi), rel=0.05)


def gaussian_hands(perfect, factor=1.0):
    """Draw errors from standard deviations that differ from vertex to vertex; the predicted ones are ``factor`` times
    those."""
    random = np.random.default_rng(1)
    for hand in perfect:
        std, keypoint_std = random.uniform(0.001, 0.02, (778, 3)), random.uniform(0.001, 0.02, (21, 3))
        yield replace(
            hand,
            vertices_m=hand.vertices_m + random.normal(scale=std),
            vertex_std_m=factor * std,
            keypoints_m=hand.keypoints_m + random.normal(scale=keypoint_std),
            keypoint_std_m=factor * keypoint_std,
        )


def test_intervals_of_gaussian_errors_cover_what_they_promise(card_of, perfect):
    found = card_of(gaussian_hands(perfect))
    assert found.coverage_68 == pytest.approx(0.68, abs=0.01)
    assert found.coverage_50 == pytest.approx(0.5, abs=0.01)
    assert found.coverage_90 == pytest.approx(0.9, abs=0.01)
    assert found.coverage_95 == pytest.approx(0.95, abs=0.005)
    assert 0.1 < found.ause < 0.5
    assert found.keypoint_coverage_50 == pytest.approx(0.5, abs=0.04)
    assert found.keypoint_coverage_68 == pytest.approx(0.68, abs=0.04)
    assert found.keypoint_coverage_95 == pytest.approx(0.95, abs=0.02)
    assert found.spearman > 0.3
    unsure, sure = card_of(gaussian_hands(perfect, 2.0)), card_of(gaussian_hands(perfect, 0.5))
    assert sure.coverage_68 < 0.45 < 0.9 < unsure.coverage_68
    assert found.nll < min(unsure.nll, sure.nll)


def test_hidden_vertices_are_compared_with_visible_ones(card_of, perfect, shards):
    visible = np.concatenate([shard.visible for shard in shards])
    hands = [
        replace(hand, vertex_std_m=np.where(seen[:, None], 0.002, 0.006) * np.ones(3))
        for hand, seen in zip(perfect, visible, strict=True)
    ]
    assert card_of(hands).hidden_over_visible == pytest.approx(3)


def test_answers_that_are_not_finite_are_refused(card_of, perfect):
    broken = [replace(hand, vertices_m=np.full((778, 3), np.nan)) for hand in perfect]
    with raises(ErrorCode.NOT_FINITE):
        card_of(broken)


@torch.no_grad()
def test_mediapipe_itself_is_measured_by_the_same_rule(rendered_hands, template, shards, perfect):
    images = torch.from_numpy(shards[0].images.copy()).permute(0, 3, 1, 2) / 255
    expected_mm = []
    for found, hand in zip(load_mediapipe_landmark_net().eval()(images).world_m.numpy(), perfect, strict=False):
        seen = hand.keypoints_m @ hand.rotation.T
        expected_mm.append(pa_mpjpe_mm(found[None].astype(np.float64), seen[None].astype(np.float64))[0])
    for count in (16, 4):
        found = mediapipe_by_part([Crops(rendered_hands, count)], template)
        assert found.everything == pytest.approx(np.mean(expected_mm[:count]), rel=1e-3)


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (16, 16), (17, 17), (None, 32), (99, 32)])
def test_a_limit_counts_crops(rendered_hands, template, perfect, limit, count):
    answers = collect([Crops(rendered_hands, limit)], says(perfect), template)
    assert {len(getattr(answers, name)) for name in type(answers).__dataclass_fields__} == {count}
    assert answers.std_m.dtype == np.float32


def test_the_wrist_tells_nothing_of_uncertainties(answers_of, perfect):
    answers = answers_of(
        [replace(hand, keypoint_std_m=hand.keypoint_std_m * np.arange(21)[:, None]) for hand in perfect]
    )
    assert answers.keypoint_visible.shape == (HANDS, 20)
    np.testing.assert_allclose(answers.keypoint_std_m[0, :, 0], 0.005 * np.arange(1, 21), rtol=1e-6)
    assert answers.keypoint_offsets_m.shape == (HANDS, 20, 3)
    assert answers.keypoints_m.shape == (HANDS, 21, 3)


def test_several_folders_are_one_set(rendered_hands, template, perfect):
    answers = collect([Crops(rendered_hands, 3), Crops(rendered_hands, 2)], says(perfect[:3] + perfect[:2]), template)
    assert len(answers.std_m) == 5
    np.testing.assert_array_equal(answers.true_vertices_m[3:], answers.true_vertices_m[:2])


def test_a_keypoint_is_seen_with_half_of_its_weight():
    regressor = np.array([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6]])
    visible = np.array([[True, False, False], [False, False, True], [False, False, False]])
    expected = [[True, False], [False, True], [False, False]]
    np.testing.assert_array_equal(keypoints_visible(visible, regressor), expected)


def test_means_by_part():
    values, fraction = np.array([1.0, 2.0, 6.0]), np.array([0.0, 0.49, 0.5])
    assert means_by_part(values, fraction) == (3.0, 1.5, 6.0)
    assert np.isnan(means_by_part(values, np.zeros(3)).heavily_hidden)


def test_hands_that_objects_occlude_are_counted_separately(answers_of, perfect):
    answers = answers_of(perfect)
    fraction = np.tile([0.1, 0.9], HANDS // 2)
    off = np.where(fraction[:, None] > 0.5, 0.021, 0.0) * (np.arange(21) == 8)
    answers = replace(
        answers,
        hidden_fraction=fraction,
        keypoints_m=answers.keypoints_m + off[..., None] * [0, 1, 0],
        std_m=np.where(answers.visible, 0.001, np.where(fraction > 0.5, 0.004, 0.002)[:, None])[..., None] * np.ones(3),
    )
    found = card(answers)
    assert found.pa_mpjpe_visible_mm == pytest.approx(0, abs=1e-3)
    assert 0.3 < found.pa_mpjpe_hidden_mm == pytest.approx(2 * found.pa_mpjpe_mm, rel=1e-3)
    assert found.hidden_over_visible_heavy == pytest.approx(4, rel=1e-5)
    assert 2 < found.hidden_over_visible < 4
    # The hand itself occludes all but one vertex of those not visible; that one has a std of 10 mm on every axis.
    alone, std = answers.visible.copy(), answers.std_m.copy()
    hidden = np.argwhere(~answers.visible & (fraction > 0.5)[:, None])[0]
    alone[tuple(hidden)], std[tuple(hidden)] = True, 0.01
    things = card(replace(answers, visible_alone=alone, std_m=std))
    assert things.things_over_visible == pytest.approx(10, rel=1e-5)
    assert things.things_over_visible_heavy == pytest.approx(10, rel=1e-5)
    open_hands = card(replace(answers, hidden_fraction=np.zeros(HANDS)))
    assert np.isnan([open_hands.pa_mpjpe_hidden_mm, open_hands.hidden_over_visible_heavy]).all()
    assert open_hands.pa_mpjpe_visible_mm == open_hands.pa_mpjpe_mm == found.pa_mpjpe_mm
    assert "| PA-MPJPE, heavily hidden, mm | – |" in card_table({"one": open_hands})


def test_the_cards_order_is_that_of_scipy(answers_of, perfect):
    answers = answers_of(gaussian_hands(perfect))
    error, std = (np.linalg.norm(part, axis=2).ravel() for part in (answers.offsets_m, answers.std_m))
    assert card(answers).spearman == pytest.approx(stats.spearmanr(error, std).statistic)


def test_the_table_has_a_row_a_figure_and_a_column_a_model(card_of, perfect):
    one = card_of(perfect)
    lines = card_table({"first": one, "second": replace(one, mpjpe_mm=12.346, coverage_68=0.6512)}).splitlines()
    assert lines[0] == "| | first | second |"
    assert len(lines) == 2 + len(CARD_ROWS) == 2 + len(type(one).__dataclass_fields__)
    assert lines[2] == "| MPJPE, mm | 0.00 | 12.35 |"
    assert "| 100.0% | 65.1% |" in "\n".join(lines)


# The command, with a network.


def columns(text):
    """Numbers of every column of a printed table."""
    rows = [line.split("|")[2:-1] for line in text.splitlines() if line.startswith("|") and "mm" not in line[:2]]
    return np.array([[float(cell.strip(" %").replace("–", "nan")) for cell in row] for row in rows[2:]]).T


def test_the_command_prints_the_same_for_a_checkpoint_and_its_onnx_file(small_model, rendered_hands, capsys):
    models = [str(small_model.onnx), str(small_model.checkpoint)]
    assert main(["evaluate", *models, "--data", str(rendered_hands)]) == 0
    text = capsys.readouterr().out
    assert f"32 crops of {rendered_hands}" in text
    inner = "prior-net inside"
    assert f"| | final | final: {inner} | {small_model.checkpoint} | {small_model.checkpoint}: {inner} |" in text
    of_onnx, inside_onnx, of_checkpoint, inside_checkpoint = columns(text)
    assert len(of_onnx) == len(CARD_ROWS)
    np.testing.assert_allclose(of_onnx, of_checkpoint, atol=0.11)
    np.testing.assert_allclose(inside_onnx, inside_checkpoint, atol=0.11)
    assert of_onnx[0] > 1
    assert abs(of_onnx[4] - inside_onnx[4]) > 0.3, "AMVUR's random layers displace the prior-net's mesh"


@torch.no_grad()
def test_the_prior_net_inside_answers_with_its_own_mesh_and_the_same_camera(small_model, shards, template):
    images = shards[0].images[:2]
    model, _, _ = load_checkpoint(small_model.checkpoint, template)
    output = model.eval()(image_batch(images))
    for path in (small_model.checkpoint, small_model.onnx):
        for row, hand in enumerate(inner_prior(path, template)(images)):
            np.testing.assert_allclose(100 * hand.vertices_m, output.prior.vertices_cm[row].numpy(), atol=2e-2)
            np.testing.assert_allclose(hand.rotation, output.camera.rotation[row].numpy(), atol=2e-3)
    assert inner_prior(model_file("prior", MODELS), template) is None


def test_both_predictors_agree_on_a_crop(small_model, shards, template):
    images = shards[0].images[:3]
    answers = (
        command.onnx_predictor(small_model.onnx)(images),
        checkpoint_predictor(small_model.checkpoint, template)(images),
    )
    for one, other in zip(*answers, strict=True):
        # What the program computes later is in neither.
        for name in (name for name in NetworkOutput.__dataclass_fields__ if getattr(other, name) is not None):
            # A random network's palm may be small, which the camera computes a rotation from.
            tolerance = 1e-3 if name == "rotation" else 1e-4
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-3, atol=tolerance)


def test_calibration_and_images_come_with_the_card(small_model, rendered_hands, tmp_path, capsys):
    arguments = ["--data", str(rendered_hands), "--count", "5", "--calibration", "--plots", str(tmp_path / "plots")]
    assert main(["evaluate", str(small_model.onnx), *arguments, "--mediapipe"]) == 0
    text = capsys.readouterr().out
    assert "5 crops of" in text
    assert "| vertices, hidden |" in text
    assert f"| keypoints, all | {5 * 20} |" in text
    assert re.search(r"PA-MPJPE \d+\.\d\d mm, visible hands", text)
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "reliability_final.png",
        "sparsification_final.png",
    }


def test_titles_that_look_alike_have_images_of_their_own():
    taken = set()
    names = [command._image_name(title, taken) for title in ("a/b", "a_b", "A/b", "a_b_2", "/")]
    assert names == ["a_b", "a_b_2", "A_b_3", "a_b_2_2", ""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx"], "nowhere.onnx is missing"),
        (["nowhere"], "missing or not a checkpoint"),
        (["--freeze"], "--freeze needs --held-out"),
    ],
)
def test_what_cannot_be_evaluated_is_said(rendered_hands, capsys, arguments, message):
    assert main(["evaluate", *arguments, "--data", str(rendered_hands)]) == 1
    assert message in capsys.readouterr().err


def test_no_crops_are_refused(capsys):
    with wrong_usage():
        main(["evaluate", "--count", "0"])
    assert "--count" in capsys.readouterr().err


def test_a_folder_without_hands_is_said(small_model, tmp_path, capsys):
    assert main(["evaluate", str(small_model.onnx), "--data", str(tmp_path)]) == 1
    assert "holds no rendered hands" in capsys.readouterr().err
