"""Rows of the paper's tables on rendered hands: their recipe's options, their training, and their figures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.data.synthetic import generator
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.card import Card, card
from handviz.evaluation.evaluate import checkpoint_predictor, collect
from handviz.evaluation.paper_tables import TABLES
from handviz.evaluation.recipes import load_recipe, recipe_names, smoke
from handviz.evaluation.rendered import RenderedHands, evaluate_rendered, rendered_config
from handviz.evaluation.tables import COLUMN_OF, FIGURES, read_results
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.training import train
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_config import TrainConfig
from handviz.models.backbones.registry import make_backbone
from tests.errors import raises
from tests.small_trainings import amvur_run

SUPERVISED = [name for name in recipe_names() if name.startswith("ho3d_v2") and "_weak_" not in name]
FORMS = ("final", "prior", "amvur", "dense", "self", "cross", "l2", "j2d_c", "weak_j2d")
"""Rows that differ in more than in which terms of the loss are on."""
SOMEWHERE = RenderedHands((Path("train"),), Path("test"))
OFFICIAL = {COLUMN_OF[figure] for figure in FIGURES if figure not in ("ssim", "psnr_db")}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight other rendered hands."""
    folder = tmp_path_factory.mktemp("held_out") / "others"
    assert sum(generator.render(generator.Plan(folder, 8, 8), workers=1)) == 8
    return folder


@pytest.fixture
def hands(cached_hands: Path, held_out: Path) -> RenderedHands:
    return RenderedHands((cached_hands,), held_out)


def small(config: TrainConfig) -> TrainConfig:
    """Return the same training of narrow heads in eight steps."""
    narrow = replace(config.model, width=16, regressor_width=16)
    return replace(smoke(config), model=narrow, head_rate=3e-3, epochs=2, batch_size=4, limit=16)


@pytest.mark.parametrize("name", recipe_names())
def test_a_row_keeps_what_it_asks(name: str, template: HandTemplate) -> None:
    recipe = load_recipe(name)
    prior = Path("camera") if recipe.needs_camera_prior else None
    config = rendered_config(recipe, SOMEWHERE, Path("run"), template, camera_prior=prior)
    assert (config.loss, config.recipe, config.camera_prior) == (recipe.loss, name, prior)
    assert config.supervision == recipe.train["supervision"]
    for field in ("variant", "features", "conditioning", "attention", "positions"):
        assert getattr(config.model, field) == getattr(recipe.model, field)
    assert (config.tail_rate, config.end_to_end, config.model.backbone) == (0, False, "mediapipe_hand")


@pytest.mark.parametrize("name", recipe_names())
def test_end_to_end_a_row_is_the_recipe_on_other_hands(name: str, template: HandTemplate) -> None:
    """Only what depends on the hands and on the time that they may take differs."""
    recipe = load_recipe(name)
    prior = Path("camera") if recipe.needs_camera_prior else None
    hands = replace(SOMEWHERE, end_to_end=True, epochs=5, limit=64)
    found = rendered_config(recipe, hands, Path("run"), template, camera_prior=prior)
    whole = recipe.config(hands.data, Path("run"), camera_prior=prior)
    assert found == replace(whole, epochs=5, limit=64, checkpoint_every=50)


def test_rows_of_a_table_fraction_all_else(template: HandTemplate) -> None:
    for table in TABLES:
        recipes = [load_recipe(row.recipe) for row in table.rows if row.recipe in SUPERVISED]
        configs = [rendered_config(recipe, SOMEWHERE, Path("run"), template) for recipe in recipes]
        assert len({(one.model, one.loss) for one in configs}) == len(configs)
        assert len({replace(one, model=configs[0].model, loss=configs[0].loss, recipe="") for one in configs}) <= 1


@pytest.mark.slow
def test_the_backbone_is_that_of_a_checkpoint(hands: RenderedHands, small_model, template: HandTemplate) -> None:
    recipe = load_recipe("ho3d_v2_final")
    config = rendered_config(recipe, replace(hands, backbone_from=small_model.checkpoint), Path("run"), template)
    assert config.backbone_from == small_model.checkpoint
    own = amvur_run(small(config), template).task.network.backbone.state_dict()
    wanted = load_checkpoint(small_model.checkpoint, template)[0].backbone.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in wanted.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_every_row_learns_with_its_backbone_frozen(
    name: str, hands: RenderedHands, template: HandTemplate, tmp_path: Path
) -> None:
    config = small(rendered_config(load_recipe(f"ho3d_v2_{name}"), hands, tmp_path, template))
    trainer = amvur_run(config, template)
    losses = [sum(trainer.train_step(ids).values()) for ids in trainer.batches()]
    assert losses[-1] < losses[0]
    after = trainer.task.network.backbone.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in make_backbone("mediapipe_hand").state_dict().items())


@pytest.fixture(scope="module", params=["ho3d_v2_final", "ho3d_v2_l2", "ho3d_v2_prior"])
def trained(
    request: pytest.FixtureRequest,
    cached_hands: Path,
    held_out: Path,
    template: HandTemplate,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TrainConfig, RenderedHands]:
    hands, run = RenderedHands((cached_hands,), held_out, test_limit=6), tmp_path_factory.mktemp("run")
    config = small(rendered_config(load_recipe(request.param), hands, run, template))
    train(config, template)
    return config, hands


@pytest.mark.slow
def test_figures_are_those_of_the_card_where_both_have_them(trained, template: HandTemplate) -> None:
    config, hands = trained
    result, printed = evaluate_rendered(config, hands, template)
    expected = card(collect([Crops(hands.test, 6)], checkpoint_predictor(config.run / "last", template), template))
    # The official Procrustes may mirror where that fits better; means can only be smaller then.
    assert result.figures["root_mpjpe_mm"] == pytest.approx(expected.mpjpe_mm, rel=1e-4)
    assert result.figures["procrustes_mpjpe_mm"] <= expected.pa_mpjpe_mm * 1.0001
    assert result.figures["procrustes_mpvpe_mm"] == pytest.approx(expected.pa_mpvpe_mm, rel=1e-3)
    assert result.figures["procrustes_f5"] == pytest.approx(expected.f5, abs=2e-3)
    assert result.figures.keys() >= OFFICIAL
    assert (result.samples, result.test) == (6, "rendered/others")
    assert read_results(config.run) == [result]
    assert "8 steps of 4 crops (16 of " in result.conditions
    assert "frozen backbone of MediaPipe" in result.conditions
    assert printed.pa_mpjpe_mm == expected.pa_mpjpe_mm
    assert_has_uncertainty(printed, expected, has_it=config.recipe != "ho3d_v2_l2")
    intervals = json.loads(result.path.read_text())["intervals_95"]
    assert all(low <= result.figures[name] <= high for name, (low, high) in intervals.items())


def assert_has_uncertainty(printed: Card, expected: Card, *, has_it: bool) -> None:
    for name in ("nll", "coverage_90", "std_mm"):
        value = getattr(printed, name)
        assert value == getattr(expected, name) if has_it else value != value, name


@pytest.mark.slow
def test_a_row_goes_from_rendered_hands_to_its_table(
    cached_hands: Path, held_out: Path, small_model, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["reproduce", "ho3d_v2_dense", "--rendered", "--data", str(cached_hands), "--test", str(held_out)]
    command += ["--backbone-from", str(small_model.checkpoint), "--smoke"]
    assert main(command) == 0
    assert "| PA-MPJPE, mm |" in capsys.readouterr().out
    assert main([*command, "--no-training"]) == 0
    capsys.readouterr()
    assert main(["tables", "--table", "5"]) == 0
    of_datasets, of_rendered = capsys.readouterr().out.split("## Rendered hands")
    assert "| A: fully connected layers | 11.4 | – |" in of_datasets
    (row,) = (line for line in of_rendered.splitlines() if line.startswith("| A: fully connected layers | 11.4 |"))
    assert row.count(" r |") == 4
    assert "ho3d_v2_dense, 40 crops seen, 4 samples of rendered/others" in of_rendered
    assert str(small_model.checkpoint) in of_rendered


@pytest.mark.slow
def test_the_whole_network_of_a_row_trains_on_rendered_hands(
    rendered_hands: Path, held_out: Path, template: HandTemplate, tmp_path: Path
) -> None:
    """From random weights on the images, and on from its checkpoint; ResNet-50 as it is, a narrow head."""
    hands = RenderedHands((rendered_hands,), held_out, end_to_end=True, epochs=1, limit=8, test_limit=4)
    config = rendered_config(load_recipe("ho3d_v2_final"), hands, tmp_path / "run", template)
    config = replace(config, batch_size=4, model=replace(config.model, width=16, regressor_width=16))
    first = train(config, template)
    before = load_checkpoint(first, template)[0].backbone.state_dict()
    train(replace(config, epochs=2), template)
    model, _, notes = load_checkpoint(first, template)
    assert (notes["step"], notes["samples_seen"]) == (4, 16)
    moved = {name: not torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items()}
    assert all(moved.values()), [name for name, has_moved in moved.items() if not has_moved]
    result, _ = evaluate_rendered(config, hands, template)
    assert "4 steps of 4 crops (8 of " in result.conditions
    assert "end to end from random weights, resnet50, hand model open_hand" in result.conditions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --root DIR, the download, or --rendered, to which --data, --test"),
        (["--root", "x", "--data", "x"], "--rendered, to which --data, --test"),
        (["--rendered"], "give --data DIR... and --test DIR, and no --root"),
        (["--rendered", "--data", "x"], "give --data DIR... and --test DIR"),
        (["--rendered", "--data", "x", "--test", "y", "--root", "z"], "and no --root"),
        (["--rendered", "--data", "x", "y", "--test", "y"], "y is trained on"),
        (["--rendered", "--data", "x", "--test", "y", "--limit", "0"], "limit is 0, it must be at least 1"),
        (["--rendered", "--data", "x", "--test", "y", "--test-limit", "0"], "--test-limit is 0"),
        (["--rendered", "--data", "x", "--test", "y", "--epochs", "0"], "epochs is 0"),
        (["--rendered", "--data", "x", "--test", "y", "--backbone-from", "z"], "z"),
        (["--rendered", "--data", "x", "--test", "y", "--backbone-from", "z", "--end-to-end"], "leave one of them out"),
        (["--root", "x", "--end-to-end"], "--end-to-end"),
        (["--rendered", "--data", "x", "--test", "y"], "x"),
    ],
)
def test_errors_say_what_to_do(capsys, arguments: list[str], message: str, tmp_path: Path) -> None:
    assert main(["reproduce", "ho3d_v2_final", *arguments, "--run", str(tmp_path / "run")]) == 1
    assert message in capsys.readouterr().err


def test_a_weak_row_asks_for_its_camera_prior(template: HandTemplate) -> None:
    with raises(ErrorCode.OPTION_CONFLICT, match="--camera-prior"):
        rendered_config(load_recipe("ho3d_v2_weak_final"), SOMEWHERE, Path("run"), template)


def test_hands_that_are_trained_on_are_not_tested_on(tmp_path: Path) -> None:
    with raises(ErrorCode.OPTION_CONFLICT):
        RenderedHands((tmp_path / "a", tmp_path / "b"), tmp_path / "a" / ".." / "b")
