"""How well models tell crops that show a hand from those that show none, and where the command says so."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from handviz.__main__ import main
from handviz.cli import evaluate as command
from handviz.core.errors import ErrorCode
from handviz.core.metrics import roc_auc
from handviz.core.records import NetworkOutput
from handviz.data.synthetic.dataset import Crops, read_labels, read_shard
from handviz.evaluation.evaluate import collect, read_crops
from handviz.evaluation.presence import (
    MEDIAPIPE,
    PresenceScores,
    mediapipe_presence,
    presence_figures,
    presence_table,
    probabilities_without_hand,
)
from handviz.models.backbones.mediapipe_hand import load_mediapipe_landmark_net
from handviz.training.samples import image_batch
from tests.errors import raises
from tests.small_trainings import with_empty_crops
from tests.tiny_network import constant_hand, write_network


@pytest.fixture(scope="module")
def some_empty(rendered_hands, tmp_path_factory):
    """Return a folder of 32 crops of which every third shows no hand by its labels, and which (32,) show one."""
    folder = tmp_path_factory.mktemp("some_empty") / "hands"
    return folder, with_empty_crops(rendered_hands, folder)


def says(probabilities):
    """Return a predictor of the same hand with these probabilities of one, crop after crop."""
    fields = constant_hand() | {"scale": 8.0}
    left = iter(probabilities)
    return lambda images: [NetworkOutput(**fields, hand_probability=next(left)) for _ in images]


def test_the_area_is_the_fraction_of_pairs_in_the_right_order():
    random = np.random.default_rng(4)
    positives, negatives = random.normal(0.6, 1, 40).round(1), random.normal(0, 1, 25).round(1)
    pairs = [1.0 if one > other else 0.5 * (one == other) for one in positives for other in negatives]
    assert set(pairs) == {0.0, 0.5, 1.0}
    assert roc_auc(positives, negatives) == pytest.approx(np.mean(pairs))
    assert roc_auc(negatives, positives) == pytest.approx(1 - np.mean(pairs))
    assert (roc_auc(np.ones(3), np.ones(2)), roc_auc(np.ones(3), np.zeros(2))) == (0.5, 1.0)
    assert np.isnan([roc_auc(np.ones(3), np.ones(0)), roc_auc(np.ones(0), np.ones(3))]).all()


def test_hands_kept_and_others_refused_are_counted_at_half():
    hidden = np.array([0.1, 0.5, 0.0, 0.8])
    found = presence_figures(np.array([0.5, 0.9, 0.49, 0.2]), hidden, np.array([0.5, 0.1, 0.3]))
    assert (found.hands, found.without_hand) == (4, 3)
    assert (found.kept, found.refused) == pytest.approx((2 / 4, 2 / 3))
    assert (found.kept_visible, found.kept_hidden) == (1 / 2, 1 / 2)
    visible = presence_figures(np.array([0.5, 0.9, 0.49]), np.zeros(3), np.zeros(2))
    assert visible.kept_visible == visible.kept == pytest.approx(2 / 3)
    assert np.isnan(visible.kept_hidden)
    # Of the 12 pairs 8 are in order, one is a tie.
    assert found.auc == pytest.approx(8.5 / 12)
    assert presence_figures(np.ones(3), np.zeros(3), np.ones(0)) is None
    assert presence_figures(np.ones(0), np.ones(0), np.ones(3)) is None


def test_crops_with_and_without_a_hand_are_read_apart(some_empty, template):
    folder, shows = some_empty
    images = np.concatenate([read_shard(folder, number).images for number in (0, 1)])
    for hands in (True, False):
        found = np.concatenate([shard.images for shard in read_crops([Crops(folder)], template, hands=hands)])
        np.testing.assert_array_equal(found, images[shows == hands])
    (few,) = read_crops([Crops(folder, 4)], template, hands=False)
    assert len(few.images) == (~shows[:4]).sum(), "a limit counts all crops of the folder"


def test_a_model_s_own_probability_is_measured_on_both(some_empty, template):
    folder, shows = some_empty
    crops, hands, empty = [Crops(folder)], shows.sum(), (~shows).sum()
    of_hands, of_empty = np.linspace(0.3, 1, hands), np.linspace(0, 0.7, empty)
    scores = PresenceScores(crops, lambda: crops)
    answers = collect(crops, says(of_hands), template)
    np.testing.assert_allclose(answers.hand_probability, of_hands, rtol=1e-6)
    scores.add("one", answers, says(of_empty), template)
    (found,) = scores.figures.values()
    assert (found.hands, found.without_hand) == (hands, empty)
    assert found.kept == pytest.approx((of_hands >= 0.5).mean())
    assert found.refused == pytest.approx((of_empty < 0.5).mean())
    assert found.auc == pytest.approx(roc_auc(of_hands, of_empty))


def test_a_model_without_a_probability_costs_no_crop(some_empty, template):
    folder, shows = some_empty

    def never():
        raise AssertionError("crops without a hand are made for nothing")

    scores = PresenceScores([Crops(folder)], never)
    answers = collect([Crops(folder)], says([None] * shows.sum()), template)
    assert np.isnan(answers.hand_probability).all()
    scores.add("one", answers, says([]), template)
    assert scores.figures == {}
    assert presence_table(scores.figures) == ""
    assert np.isnan(probabilities_without_hand([Crops(folder)], says([None] * 32), template)).all()


def test_crops_without_a_hand_are_made_once(some_empty, template):
    folder, shows = some_empty
    asked = []
    scores = PresenceScores([Crops(folder)], lambda: asked.append(1) or [Crops(folder)])
    answers = collect([Crops(folder)], says(np.full(shows.sum(), 0.8)), template)
    for title in ("one", "two"):
        scores.add(title, answers, says(np.full((~shows).sum(), 0.2)), template)
    assert len(asked) == 1
    assert [(found.auc, found.kept, found.refused) for found in scores.figures.values()] == [(1, 1, 1)] * 2


@torch.no_grad()
def test_mediapipe_s_presence_is_that_of_its_own_network(some_empty, template):
    folder, shows = some_empty
    images = np.concatenate([read_shard(folder, number).images for number in (0, 1)])
    expected = load_mediapipe_landmark_net().eval()(image_batch(images)).presence.numpy()
    for hands in (True, False):
        found, fractions = mediapipe_presence([Crops(folder)], template, hands=hands)
        np.testing.assert_allclose(found, expected[shows == hands], atol=1e-4)
        hidden = [read_labels(folder, number)["hidden_share"] for number in (0, 1)]
        np.testing.assert_array_equal(fractions, np.concatenate(hidden)[shows == hands])
    scores = PresenceScores([Crops(folder)], lambda: [Crops(folder)])
    scores.add_mediapipe(template)
    assert scores.figures[MEDIAPIPE].auc == pytest.approx(roc_auc(expected[shows], expected[~shows]), abs=1e-2)


def test_a_folder_without_any_hand_is_said(some_empty, template):
    with raises(ErrorCode.EMPTY_INPUT):
        collect([Crops(some_empty[0], 1)], says([0.1]), template)


def test_the_table_has_a_row_per_model():
    one = presence_figures(np.array([0.9, 0.8, 0.3, 0.7]), np.zeros(4), np.array([0.1, 0.6]))
    lines = presence_table({"final": one, MEDIAPIPE: replace(one, auc=0.98765, refused=1.0)}).splitlines()
    assert lines[0] == "Probability that a crop shows a hand, on 4 crops with and 2 without one:"
    assert lines[-2:] == [
        "| final | 0.8750 | 75.0% | 75.0% | – | 50.0% |",
        f"| {MEDIAPIPE} | 0.9877 | 75.0% | 75.0% | – | 100.0% |",
    ]


# The command, with networks.


@pytest.fixture
def plain_file(tmp_path):
    """Write a file as they were before, without a probability of its own."""
    return write_network(tmp_path / "handviz_prior.onnx", "prior")


@pytest.fixture
def evaluate(capsys):
    """Run the command; return what it prints."""

    def run(*arguments):
        assert main(["evaluate", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run


def test_the_command_says_it_of_checkpoint_file_and_mediapipe(small_model, some_empty, evaluate):
    folder, shows = some_empty
    shows, options = shows[:9], [small_model.onnx, small_model.checkpoint, "--data", folder, "--count", "9"]
    found = json.loads(evaluate(*options, "--json"))["presence"]
    of_onnx, of_checkpoint, of_mediapipe = (found[name] for name in ("final", str(small_model.checkpoint), MEDIAPIPE))
    assert of_onnx == pytest.approx(of_checkpoint, abs=1e-3)
    assert len(found) == 3, "the prior-net inside has the same probability"
    assert (of_mediapipe["hands"], of_mediapipe["without_hand"]) == (shows.sum(), (~shows).sum())
    text = evaluate(*options)
    assert f"on {shows.sum()} crops with and {(~shows).sum()} without one" in text
    assert f"| {MEDIAPIPE} | {of_mediapipe['auc']:.4f} |" in text


def test_nothing_is_said_where_every_crop_shows_a_hand(small_model, rendered_hands, evaluate):
    options = [small_model.onnx, "--data", rendered_hands, "--count", "4", "--mediapipe"]
    assert json.loads(evaluate(*options, "--json"))["presence"] == {}
    assert "shows a hand" not in evaluate(*options)


def test_of_a_file_without_a_probability_mediapipe_s_is_said_on_request(plain_file, some_empty, evaluate):
    options = [plain_file, "--data", some_empty[0], "--count", "4"]
    assert "shows a hand" not in evaluate(*options)
    assert list(json.loads(evaluate(*options, "--mediapipe", "--json"))["presence"]) == [MEDIAPIPE]


def test_held_out_crops_without_a_hand_are_rendered_for_a_model_with_a_probability_alone(
    small_model, plain_file, rendered_hands, some_empty, monkeypatch, evaluate
):
    asked = []

    def render(held_out, directory, count, *, keep=False, no_hand=False):
        asked.append(no_hand)
        return [Crops(some_empty[0] if no_hand else rendered_hands, 4)]

    monkeypatch.setattr(command, "render_held_out", render)
    assert "shows a hand" not in evaluate(plain_file, "--count", "4")
    assert asked == [False]
    assert "on 4 crops with and 2 without one" in evaluate(small_model.onnx, "--count", "4")
    assert asked == [False, False, True]


def test_only_a_file_with_that_output_has_a_probability(plain_file, some_empty, tmp_path):
    images = read_shard(some_empty[0], 0).images[:2]
    own = write_network(tmp_path / "handviz_final.onnx", hand=constant_hand() | {"hand_probability": np.array(0.25)})
    for file, expected in ((plain_file, None), (own, 0.25)):
        assert [hand.hand_probability for hand in command.onnx_predictor(file)(images)] == [expected] * 2
