"""Recipes: what stands in their files, and that each of them trains."""

from pathlib import Path

import pytest

from handviz.bench.recipes import load_recipe, recipe_names
from handviz.errors import HandvizError


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
    assert (config.model.tokens, config.model.width, config.model.evidence) == ("full", 512, "global")
    assert config.recipe == name


def test_a_camera_prior_is_asked_for_where_it_is_weighed() -> None:
    with pytest.raises(HandvizError, match="--camera-prior"):
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
    ("text", "sentence"),
    [
        ("train = 3", "train is not a table"),
        ("[training]\nepochs = 3", "there is no training"),
        ("[train]\nepoch = 3", "train has no epoch; there are"),
        ("[train]\ndata = 3", "train has no data"),
        ("[model]\nvariant = 'mine'", "variant is 'mine'"),
        ("[loss]\nlikelihood = 'l1'", "likelihood is 'l1'"),
        ("[loss.weak]\ndraws = 0", "draws must be at least 1"),
        ("[model]\nwidth = 'wide'", "another kind"),
        ("[", "is not a recipe"),
    ],
)
def test_a_wrong_file_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(HandvizError, match=sentence):
        load_recipe(str(path))


def test_an_unknown_name_is_a_sentence() -> None:
    with pytest.raises(HandvizError, match="no recipe is called ho3d; there are"):
        load_recipe("ho3d")
