"""Every recipe is the paper's row: each setting is that of a table written from the paper, and none is unknown."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from handviz.evaluation.recipes import USER_FIELDS, load_recipe, recipe_names
from handviz.models.amvur.training_config import TrainConfig
from tests.evaluation.paper_rows import OUTSIDE, ROWS, SUPERVISED, WEAK, WITHOUT_EFFECT

USERS = {"data": (Path("data"),), "run": Path("run"), "camera_prior": Path("camera")}
"""What the test gives in the user's place"""


def config_of(name: str) -> TrainConfig:
    """Return the config that training gets of a recipe."""
    recipe = load_recipe(name)
    prior = USERS["camera_prior"] if recipe.needs_camera_prior else None
    return recipe.config(USERS["data"], USERS["run"], camera_prior=prior)


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting of a config by its name, with a point before the name of a part's."""
    for item in fields(config):
        name, value = prefix + item.name, getattr(config, item.name)
        if is_dataclass(value) and item.name not in WITHOUT_EFFECT:
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of a recipe that are not the user's."""
    return {key: value for key, value in flat(config_of(name)) if key not in OUTSIDE | WITHOUT_EFFECT}


def test_the_table_has_every_recipe_and_no_other() -> None:
    assert set(ROWS) == set(recipe_names())


@pytest.mark.parametrize("base", [SUPERVISED, WEAK])
def test_no_field_of_a_config_is_unguarded(base: dict[str, Any]) -> None:
    """A new field of a config must be given its value of the paper's rows in the table."""
    assert set(settings_of("ho3d_v2_final")) == set(base)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_recipe_is_the_row_of_the_paper(name: str) -> None:
    row, found = ROWS[name], settings_of(name)
    wrong = {key: (value, row.settings.get(key)) for key, value in found.items() if value != row.settings.get(key)}
    assert not wrong, f"{row.source}: (in the recipe, in the paper) {wrong}"
    assert set(row.changes) <= set(found)
    assert load_recipe(name).dataset == row.dataset


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_rest_of_a_config_is_the_user_s(name: str) -> None:
    """No recipe starts from weights, leaves samples out or has noise: these settings are the defaults or the user's."""
    config, plain = config_of(name), TrainConfig(USERS["data"], USERS["run"])
    prior = USERS["camera_prior"] if load_recipe(name).needs_camera_prior else None
    for key in OUTSIDE | WITHOUT_EFFECT:
        wanted = {"recipe": name, "camera_prior": prior}.get(key, getattr(plain, key))
        assert getattr(config, key) == wanted, key
    assert not config.model.has_landmark_head
    assert {*USER_FIELDS} <= OUTSIDE | WITHOUT_EFFECT | {"model", "loss"}


def test_rows_of_a_table_differ_as_the_paper_says() -> None:
    """No two rows are the same training, but for those of the same row in several tables."""
    seen = {}
    for name, row in ROWS.items():
        key = (row.dataset, tuple(sorted(row.settings.items())))
        assert key not in seen, f"{name} is {seen.get(key)}"
        seen[key] = name


def test_a_camera_prior_is_wanted_where_the_row_has_the_camera_s_divergence() -> None:
    for name, row in ROWS.items():
        weighed = row.settings["supervision"] == "weak" and row.settings["loss.weak.camera"] > 0
        assert load_recipe(name).needs_camera_prior == weighed, name
