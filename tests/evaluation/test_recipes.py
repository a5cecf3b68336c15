"""Recipes: the content of their files, and that each of them trains."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.evaluation.recipes import load_recipe, recipe_names, smoke
from handviz.models.amvur.model import build_model
from handviz.models.amvur.training import train
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.backbones import imagenet_backbones
from handviz.training import dataset_samples
from handviz.training.checkpoint import save_checkpoint
from tests.errors import raises
from tests.fake_datasets.stand_in_mano import stand_in_template, write_stand_in_mano
from tools.fake_datasets import writer


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_keeps_to_what_the_paper_states(name: str) -> None:
    recipe = load_recipe(name)
    weak = "_weak_" in name
    prior = Path("camera") if recipe.needs_camera_prior else None
    config = recipe.config((Path("data"),), Path("run"), camera_prior=prior)
    assert config.batch_size == 32
    assert config.weight_decay == 0, "Adam"
    assert config.end_to_end
    assert config.supervision == ("weak" if weak else "full")
    assert config.model.backbone == ("efficientnet_b0" if weak else "resnet50")
    assert (config.model.tokens, config.model.width, config.model.features) == ("full", 512, "global")
    assert config.recipe == name


def test_a_camera_prior_is_asked_for_where_it_is_weighed() -> None:
    with raises(ErrorCode.OPTION_CONFLICT, match="--camera-prior"):
        load_recipe("ho3d_v2_weak_final").config((Path("data"),), Path("run"))
    assert not load_recipe("ho3d_v2_weak_j2d").needs_camera_prior


def test_terms_are_those_of_the_rows() -> None:
    def on(name: str) -> set[str]:
        loss = load_recipe(name).loss
        return {term for term in ("vertices", "keypoints", "camera", "image") if getattr(loss, term) > 0}

    assert on("ho3d_v2_final") == {"vertices", "keypoints", "camera", "image"}
    assert on("ho3d_v2_v3d") == {"vertices"}
    assert on("ho3d_v2_v3d_j3d") == {"vertices", "keypoints"}
    assert on("ho3d_v2_v3d_j3d_c") == {"vertices", "keypoints", "camera"}
    assert on("ho3d_v2_j2d") == {"image"}
    assert on("ho3d_v2_j2d_c") == {"image", "camera"}
    assert on("ho3d_v2_j2d_c_j3d") == {"image", "camera", "keypoints"}


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("v3d", (1, 0, 0)),
        ("v3d_j3d", (1, 1, 0)),
        ("v3d_j3d_c", (1, 1, 0)),
        ("final", (1, 1, 1)),
        ("j2d", (0, 0, 1)),
        ("j2d_c", (0, 0, 1)),
        ("j2d_c_j3d", (0, 1, 1)),
    ],
)
def test_a_row_has_the_divergences_of_its_terms_alone(name: str, weights: tuple[int, int, int]) -> None:
    """Each of eqs. 3, 5, 6 is a likelihood and a divergence: a row without the one is without the other."""
    loss = load_recipe(f"ho3d_v2_{name}").loss
    assert loss.kl == 1
    assert (loss.kl_vertices, loss.kl_keypoints, loss.kl_image) == weights
    assert (loss.vertices, loss.keypoints, loss.image) == weights


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_the_printed_sums_under_a_known_camera(name: str) -> None:
    loss = load_recipe(name).loss
    assert (loss.reduction, loss.camera_variance, loss.camera_likelihood, loss.samples) == ("sum", False, 0, 0)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("train = 3", ErrorCode.BAD_VALUE, "train"),
        ("[training]\nepochs = 3", ErrorCode.UNKNOWN_NAME, "training"),
        ("[train]\nepoch = 3", ErrorCode.UNKNOWN_NAME, "train has no epoch;"),
        ("[train]\ndata = 3", ErrorCode.UNKNOWN_NAME, "train has no data"),
        ("[model]\nvariant = 'mine'", ErrorCode.UNKNOWN_NAME, "variant is 'mine'"),
        ("[loss]\nlikelihood = 'l1'", ErrorCode.UNKNOWN_NAME, "likelihood is 'l1'"),
        ("[loss]\nreduction = 'max'", ErrorCode.UNKNOWN_NAME, "reduction is 'max'"),
        ("[loss.weak]\ndraws = 0", ErrorCode.BAD_VALUE, "draws"),
        ("[model]\nwidth = 'wide'", ErrorCode.BAD_VALUE, "mine"),
        ("[", ErrorCode.FILE_DAMAGED, "mine"),
    ],
)
def test_a_wrong_file_is_a_message(tmp_path: Path, text: str, code: ErrorCode, named: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with raises(code, match=named):
        load_recipe(str(path))


def test_an_unknown_name_is_a_message() -> None:
    with raises(ErrorCode.UNKNOWN_NAME, match="ho3d"):
        load_recipe("ho3d")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny downloads of what the recipes train on."""
    folder = tmp_path_factory.mktemp("tiny")
    roots = {name: folder / name for name in ("freihand", "ho3d_v2", "ho3d_v3")}
    for name, root in roots.items():
        writer(name).write(name, root, 8)
    return roots


@pytest.fixture(scope="module")
def camera_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an untrained checkpoint of the weak recipes' backbone."""
    template, config = stand_in_template(), load_recipe("ho3d_v2_weak_prior").model
    folder = tmp_path_factory.mktemp("camera") / "last"
    return save_checkpoint(folder, build_model(config, template), config, {}, template, {}, family="amvur")


@pytest.fixture
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on images of a quarter of the side."""
    whole = dataset_samples.image_batch
    monkeypatch.setattr(dataset_samples, "image_batch", lambda images: functional.avg_pool2d(whole(images), 4))


@pytest.fixture
def small(small_images: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a ResNet of one block a stage too: the row below trains the whole one."""
    stage = imagenet_backbones._resnet_stage
    monkeypatch.setattr(
        imagenet_backbones, "_resnet_stage", lambda inputs, width, _, stride: stage(inputs, width, 1, stride)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_runs_for_twenty_steps(
    name: str, roots: dict[str, Path], camera_prior: Path, small: None, tmp_path: Path
) -> None:
    recipe, template = load_recipe(name), stand_in_template()
    spec = f"{recipe.dataset}:{roots[recipe.dataset.partition('/')[0]]}"
    prior = camera_prior if recipe.needs_camera_prior else None
    config = smoke(recipe.config((spec,), tmp_path / "run", camera_prior=prior))
    config = replace(config, model=replace(config.model, width=64))
    model, _, notes = load_checkpoint(train(config, template), template)
    assert notes["step"] == 20
    assert notes["train"]["recipe"] == name
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    with (config.run / "log.csv").open(newline="") as log:
        row = list(csv.DictReader(log))[-1]
    on = {term for term, value in row.items() if term not in ("step", "crops_seen", "loss") and float(value) != 0}
    assert ("camera" in on) == (recipe.needs_camera_prior or (recipe.loss.camera > 0 and "_weak_" not in name))
    assert ("image" in on) == (recipe.loss.image > 0)


@pytest.mark.slow
@pytest.mark.usefixtures("small_images")  # test_rendered.py trains a ResNet-50 on whole ones.
@pytest.mark.parametrize("name", ["ho3d_v2_l2", "freihand_weak_final"])
def test_a_row_goes_from_a_download_to_its_table(
    name: str, roots: dict[str, Path], camera_prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mano, _ = write_stand_in_mano(tmp_path / "mano")
    root, run = roots[load_recipe(name).dataset.partition("/")[0]], tmp_path / "runs" / name
    command = ["reproduce", name, "--root", str(root), "--run", str(run), "--hand-model", str(mano), "--smoke"]
    assert main([*command, "--camera-prior", str(camera_prior)]) == 0
    assert main(["tables", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if f": {name}, 40 crops seen, 4 samples" in line)
    row = next(text for text in printed.splitlines() if text.startswith("| " + line[2:].partition(":")[0]))
    assert row.count("–") < row.count("|") / 2, "numbers stand beside the paper's"
    assert main([*command, "--no-training"]) == (0 if name == "ho3d_v2_l2" else 1)
