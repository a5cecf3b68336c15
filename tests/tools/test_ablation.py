"""The paper's ablations: every row is what it says, trains, and stands beside the paper's numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from handviz.__main__ import main
from handviz.core.errors import HandvizError
from handviz.core.gaussian import gaussian_nll
from handviz.models.amvur.evidence import Evidence
from handviz.models.amvur.losses import LossConfig, l2_terms, supervised_terms
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.network import Amvur, DenseVertices, TokenSettings, VertexAttention
from handviz.training.checkpoint import load_checkpoint
from tools.ablation import DEVIATION_FIGURES, EXPERIMENTS, TABLES, TITLES, chosen, markdown, read_results
from tools.ablation_run import Bench, BenchCrops, Budget, batches, run_experiment, train_heads

FEATURE, WIDTH = 24, 16


@pytest.fixture(scope="module")
def bench(cached_hands, template):
    """16 crops to train on, 32 to test on, seen by MediaPipe's weights."""
    return Bench(BenchCrops((cached_hands,), cached_hands, limit=16), template)


def small(experiment):
    return replace(experiment, model=replace(experiment.model, width=WIDTH, regressor_width=WIDTH))


def vertex_net(template, kind, **options):
    torch.manual_seed(0)
    net = kind(FEATURE, template, TokenSettings(width=WIDTH, heads=4, coarse=True, **options))
    torch.nn.init.normal_(net.mean[-1].weight, std=0.5)
    return net.eval()


# The forms of AMVUR.


@torch.no_grad()
@pytest.mark.parametrize("kind", [Amvur, VertexAttention])
def test_tokens_by_index_know_nothing_of_the_mesh(template, kind):
    """Another rest pose moves where offsets start from, not the offsets."""
    other = replace(template, vertices_m=template.vertices_m[::-1] * 1.3)
    feature = torch.randn(2, FEATURE)

    def offsets(hand, **options):
        net = vertex_net(hand, kind, **options)
        return net(feature).mean_cm - net.rest_cm

    difference = offsets(template, by_index=True) - offsets(other, by_index=True)
    assert difference.abs().max() < 1e-4
    assert (offsets(template) - offsets(other)).abs().max() > 0.1


@torch.no_grad()
def test_tokens_by_index_still_differ(template):
    net = vertex_net(template, VertexAttention, by_index=True)
    codes = net.rest_tokens[0]
    assert codes.shape[0] == 195
    assert torch.cdist(codes, codes).fill_diagonal_(9.0).min() > 0.1
    assert (net(torch.randn(1, FEATURE)).mean_cm - net.rest_cm).std(dim=1).min() > 0.01


@torch.no_grad()
def test_self_attention_hears_nothing_of_the_joints(template):
    for kind, hears in ((VertexAttention, False), (Amvur, True)):
        net, feature = vertex_net(template, kind), torch.randn(2, FEATURE)
        before = net(feature).mean_cm
        net.rest_keypoints += 3.0
        assert ((net(feature).mean_cm - before).abs().max() > 1e-3) == hears


@torch.no_grad()
def test_dense_layers_give_a_gaussian_near_the_rest_pose(template):
    net = DenseVertices(FEATURE, template, width=WIDTH)
    answer = net(torch.randn(3, FEATURE))
    assert answer.mean_cm.shape == answer.log_variance.shape == (3, 778, 3)
    assert (answer.mean_cm - net.rest_cm).abs().max() < 1.0


@pytest.mark.parametrize("change", [{"attention": "dense"}, {"positions": "index"}])
def test_a_base_mesh_needs_tokens_that_may_know_it(change):
    with pytest.raises(HandvizError, match='need conditioning "rest"'):
        ModelConfig(variant="final", conditioning="prior", **change)
    assert not ModelConfig(variant="amvur", conditioning="prior", **change).on_base


@pytest.mark.parametrize("change", [{"attention": "some"}, {"positions": "none"}])
def test_an_unknown_form_is_an_error(change):
    with pytest.raises(HandvizError, match="there are"):
        ModelConfig(**change)


def test_all_rows_of_a_table_differ_in_what_they_are_built_or_trained_with():
    assert set(EXPERIMENTS) == {row.experiment for table in TABLES for row in table.rows}
    kinds = {(one.model, one.loss) for one in EXPERIMENTS.values()}
    assert len(kinds) == len(EXPERIMENTS)
    for table in TABLES:
        assert all(len(row.numbers) in (0, len(table.figures)) for row in table.rows)
        assert set(table.figures) <= TITLES.keys()


# The loss.


@pytest.fixture
def answered(bench, template):
    """An AMVUR's answer to four crops, their truth."""
    torch.manual_seed(0)
    heads = build_model(small(EXPERIMENTS["final"]).model, template).heads
    evidence, truth = bench.training.batch(torch.arange(4))
    return heads(evidence), truth


def test_l2_has_the_gradient_of_squared_errors_and_none_of_the_variance(answered, bench):
    output, truth = answered
    only = LossConfig(likelihood="l2", keypoints=0, image=0, camera=0, kl=0, prior=0, crop=0)
    loss = sum(supervised_terms(output, truth, bench.regressor, only).values())
    gradient, of_variance = torch.autograd.grad(
        loss, [output.mean_cm, output.log_variance], retain_graph=True, allow_unused=True
    )
    errors = output.mean_cm.detach() - truth.vertices_cm
    torch.testing.assert_close(gradient, 2 * errors / errors.numel())
    assert of_variance is None
    # Half of it is the Gaussian's at a variance of 1 cm².
    mean = output.mean_cm.detach().requires_grad_()
    gaussian_nll(truth.vertices_cm, mean, torch.zeros_like(mean)).mean().backward()
    torch.testing.assert_close(mean.grad, gradient / 2)


def test_l2_keeps_amvur_near_the_prior_without_a_divergence(answered, bench):
    output, truth = answered
    apart = output.mean_cm - output.prior.vertices_cm
    terms = l2_terms(output, truth, bench.regressor, LossConfig(kl=2.0))
    expected = 2 * (apart.square().mean() + (bench.regressor @ apart).square().mean())
    torch.testing.assert_close(terms["kl"], expected)
    assert "deviation" not in terms


def test_a_term_that_is_off_is_nothing(answered, bench):
    output, truth = answered
    terms = supervised_terms(output, truth, bench.regressor, EXPERIMENTS["v3d"].loss)
    assert float(terms["vertices"].detach()) != 0
    assert not {"crop", "joints"} & terms.keys()
    assert all(float(terms[name].detach()) == 0 for name in ("keypoints", "image", "prior"))


def test_an_unknown_likelihood_is_an_error():
    with pytest.raises(HandvizError, match="there are gaussian, l2"):
        LossConfig(likelihood="l1")


# Training.


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_learns(bench, name):
    experiment = small(EXPERIMENTS[name])
    model = bench.model(experiment, 0)
    budget = Budget(steps=8, batch_size=16, rate=3e-3)
    losses = train_heads(model.heads, bench.training, bench.regressor, experiment, budget)
    assert len(losses) == 8
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_every_row_starts_from_the_same_trunk_and_sees_the_same_crops(bench):
    for name in ("dense", "final"):
        state = bench.model(small(EXPERIMENTS[name]), 0).backbone.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in bench.trunk.backbone.state_dict().items())
    budget = Budget(steps=5, batch_size=4)
    once, again = (torch.stack(list(batches(9, budget))) for _ in range(2))
    assert torch.equal(once, again)
    assert len(set(once[:2].flatten().tolist())) == 8
    with pytest.raises(HandvizError, match="fewer than a batch"):
        next(batches(3, budget))


def test_evidence_is_the_papers_global_feature(bench):
    evidence, _ = bench.training.batch(torch.arange(2))
    assert isinstance(evidence, Evidence)
    assert evidence.feature.shape == (2, 1152)
    assert evidence.joints is None
    assert bench.training.middle_maps.untyped_storage().nbytes() == 0


@pytest.mark.parametrize(("name", "silent"), [("self", False), ("l2", True), ("prior", False)])
def test_a_row_writes_its_result_and_a_checkpoint_that_loads(bench, template, tmp_path, name, silent):
    experiment = small(EXPERIMENTS[name])
    path = run_experiment(experiment, bench, Budget(steps=2, batch_size=4), tmp_path)
    result = read_results(tmp_path)[name]
    assert path == tmp_path / name / "result.json"
    assert result["crops_seen"] == 8
    assert result["figures"].keys() == TITLES.keys()
    assert (result["figures"]["nll"] is None) == silent
    model, config, notes = load_checkpoint(tmp_path / name / "last", template)
    assert config == experiment.model
    assert notes["train"]["loss"]["likelihood"] == experiment.loss.likelihood
    evidence, _ = bench.test.batch(torch.arange(2))
    assert torch.isfinite(model.eval().heads(evidence).mean_cm).all()


def test_the_figures_are_those_of_the_model_card(bench, template, tmp_path, cached_hands):
    from handviz.evaluation.card import card
    from handviz.evaluation.evaluate import Crops, checkpoint_predictor, collect

    experiment = small(EXPERIMENTS["final"])
    run_experiment(experiment, bench, Budget(steps=4, batch_size=4), tmp_path)
    figures = read_results(tmp_path)["final"]["figures"]
    predict = checkpoint_predictor(tmp_path / "final" / "last", template)
    expected = card(collect([Crops(cached_hands)], predict, template))
    for name in set(TITLES) - {"mpvpe_mm"}:
        assert figures[name] == pytest.approx(getattr(expected, name), rel=0.01, abs=0.005), name


# The command.


def test_the_command_trains_several_and_prints_them(cached_hands, small_model, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    folders = ["--data", str(cached_hands), "--test", str(cached_hands), "--run-dir", str(tmp_path)]
    few = ["--steps", "2", "--batch-size", "4", "--limit", "8", "--test-limit", "4"]
    assert main(["ablate", "dense", "prior", *folders, *few, "--start-from", str(small_model.checkpoint)]) == 0
    assert main(["ablate", "--table", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "2 steps of 4 crops (8 seen of 8), seed 0" in text
    assert "1,234 crops seen" in text
    assert "4 held-out crops" in text
    assert "| A: fully connected layers | 11.4 |" in text
    assert "Not trained yet: final, amvur, self" in text


def fake_results():
    figures = dict.fromkeys(TITLES, 12.34) | dict.fromkeys(DEVIATION_FIGURES)
    alike = {"steps": 600, "batch_size": 64, "seed": 0, "samples": 9, "test": "t", "test_samples": 7}
    alike |= {"trunk": "x", "trunk_crops_seen": 5}
    return {name: {"figures": figures, "alike": alike, "crops_seen": 38400} for name in EXPERIMENTS}


def test_the_table_stands_beside_the_papers_numbers_and_says_that_the_data_differ():
    text = markdown(fake_results())
    assert "HO3Dv2" in text
    assert "rendered crops" in text
    assert (
        "| C: B + cross-attention | 8.9 | 12.3 | 8.7 | 12.3 | 0.581 | 12.340 | 0.958 | 12.340 | 12.3 | – | – | – |"
        in text
    )
    assert "| J2D + C | 24.3 | 12.3 | 27.6 | 12.3 | – | – | – |" in text
    assert "Not trained yet" not in text
    assert "another way" not in text
    for table in TABLES:
        rows = text.split(table.title)[1].split("###")[0].strip().splitlines()
        assert len({row.count("|") for row in rows}) == 1
        assert len(rows) == 2 + len(table.rows)


def test_rows_that_were_not_trained_alike_are_named():
    results = fake_results()
    results["dense"]["alike"] = results["dense"]["alike"] | {"seed": 1}
    assert "not to be compared: dense.**" in markdown(results)


def test_the_table_says_how_long_its_rows_trained():
    results = fake_results()
    assert "heads\nof 600 steps (38,400 crops seen) on" in markdown(results)
    results["dense"]["alike"] = results["dense"]["alike"] | {"steps": 2000}
    assert "of 600 to 2,000 steps (" in markdown(results)


def test_names_groups_and_all():
    assert [one.name for one in chosen(["parts", "final", "v3d"])] == ["dense", "self", "cross", "final", "v3d"]
    assert len(chosen(["all"])) == len(EXPERIMENTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fnal", "--data", "x", "--test", "x"], "no ablation is called fnal; there are variants, parts"),
        (["final"], "NAME --data DIR --test DIR"),
        ([], "--list tells the names"),
        (["--table", "nowhere"], "nowhere holds no result"),
        (["final", "--data", "x", "--test", "x", "--steps", "0"], "at least one step"),
        (["final", "--data", "x", "--test", "x", "--limit", "0"], "--limit and --test-limit must be at least 1"),
        (["final", "--data", "x", "--test", "x", "--test-limit", "-1"], "--test-limit must be at least 1"),
    ],
)
def test_errors_say_what_to_do(capsys, arguments, message):
    assert main(["ablate", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({"figures": {}, "alike": {}, "crops_seen": 1})])
def test_a_damaged_result_is_an_error(tmp_path, content):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "result.json").write_text(content, encoding="utf-8")
    with pytest.raises(HandvizError, match="train that ablation again"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("figures", "f5", "good"), ("figures", "nll", 10**400), ("alike", "samples", "9"), ("alike", "trunk", None)],
)
def test_a_result_that_is_none_names_what(tmp_path, part, name, value):
    (tmp_path / "final").mkdir()
    result = fake_results()["final"]
    result[part] = result[part] | {name: value}
    (tmp_path / "final" / "result.json").write_text(json.dumps(result), encoding="utf-8")
    with pytest.raises(HandvizError, match=f"lacks {name}, or holds something else there: train that ablation again"):
        read_results(tmp_path)


def test_the_list_names_every_row_with_the_papers_numbers(capsys):
    assert main(["ablate", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in EXPERIMENTS)
    assert "10.5  10.9  0.496  0.948" in text
