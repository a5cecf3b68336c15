"""Recipes: one file per row of AMVUR's tables, with every setting of its training that is not the default.

``recipes/NAME.toml`` holds ``family`` (without it "amvur", the only one whose recipes are read), ``dataset`` and the
tables ``train`` (fields of TrainConfig), ``model`` (ModelConfig) and ``loss`` (LossConfig, its ``weak`` a table of its
own). The user's folders come from the command line.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.json_files import parse_json
from handviz.models.amvur.family import FAMILY
from handviz.models.amvur.loss_config import LossConfig, WeakWeights
from handviz.models.amvur.model import PLAIN_FORM, ModelConfig
from handviz.models.amvur.training_config import TrainConfig

FOLDER = Path(__file__).parent / "recipes"
USER_FIELDS = (
    "data",
    "run",
    "model",
    "loss",
    "camera_prior",
    "validation",
    "landmark_noise",
    "style_noise",
    "recipe",
    "backbone_weights",
    "backbone_from",
    "start_from",
)
"""Fields of TrainConfig that a recipe does not hold, or holds as a table of its own"""
ENTRIES = ("family", "dataset", "train", "model", "loss")
MAX_FILE_BYTES = 100_000
SMOKE_BATCH, SMOKE_SAMPLES, SMOKE_EPOCHS = 2, 8, 5


@dataclass(frozen=True)
class Recipe:
    """A training config without its folders."""

    name: str
    dataset: str
    """NAME/SPLIT of the data spec; empty: rendered hands"""
    train: Mapping[str, Any]
    model: ModelConfig
    loss: LossConfig
    family: str = FAMILY.id
    """Of the model that it trains: recipes are those of AMVUR"""

    @property
    def needs_camera_prior(self) -> bool:
        """Whether its loss needs another net's camera."""
        return self.train.get("supervision") == "weak" and self.loss.weak.camera > 0

    def config(self, data: tuple[Path | str, ...], run: Path, *, camera_prior: Path | None = None) -> TrainConfig:
        """Return the config with its folders; HandvizError if a camera prior is missing or not used."""
        if self.needs_camera_prior and camera_prior is None:
            raise HandvizError(
                f"recipe {self.name} weighs the camera against a prior: give --camera-prior landmarks, or a checkpoint "
                "(docs/research/training.md)",
                ErrorCode.OPTION_CONFLICT,
            )
        return TrainConfig(
            data=data,
            run=run,
            model=self.model,
            loss=self.loss,
            camera_prior=camera_prior if self.needs_camera_prior else None,
            recipe=self.name,
            **self.train,
        )


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes that handviz ships."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_recipe(name: str) -> Recipe:
    """Load a recipe by name, or from a user's ``.toml`` file; HandvizError names what is wrong with it."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise HandvizError(
            f"no recipe is called {name}; there are {', '.join(recipe_names())}, or give a .toml file",
            ErrorCode.UNKNOWN_NAME,
        )
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HandvizError(f"{path} is not a recipe: {error}", ErrorCode.FILE_DAMAGED) from error
    return _recipe(path, found)


def _recipe(path: Path, found: dict[str, Any]) -> Recipe:
    unknown = found.keys() - set(ENTRIES)
    if unknown:
        raise HandvizError(
            f"{path}: there is no {', '.join(sorted(unknown))}; there are {', '.join(ENTRIES)}", ErrorCode.UNKNOWN_NAME
        )
    if (family := found.get("family", FAMILY.id)) != FAMILY.id:
        raise HandvizError(
            f"{path}: recipes of the family {family!r} cannot be read: write family = {FAMILY.id!r}, or leave it out",
            ErrorCode.UNKNOWN_NAME,
        )
    tables = {name: _table(path, name, found.get(name, {})) for name in ("train", "model", "loss")}
    weak = _table(path, "loss.weak", tables["loss"].pop("weak", {}))
    allowed = {item.name for item in fields(TrainConfig)} - set(USER_FIELDS)
    _check_names(path, "train", tables["train"], allowed)
    _check_types(path, "train", TrainConfig, tables["train"])
    try:
        loss = _made(path, "loss", LossConfig, tables["loss"])
        return Recipe(
            name=path.stem,
            dataset=str(found.get("dataset", "")),
            train=tables["train"],
            model=_made(path, "model", ModelConfig, {**PLAIN_FORM, **tables["model"]}),
            loss=replace(loss, weak=_made(path, "loss.weak", WeakWeights, weak)),
        )
    except TypeError as error:
        raise HandvizError(f"{path}: a value has the wrong type ({error})", ErrorCode.BAD_VALUE) from error


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HandvizError(f"{path}: {name} is not a table", ErrorCode.BAD_VALUE)
    return dict(value)


def _check_names(path: Path, table: str, values: Mapping[str, Any], allowed: set[str]) -> None:
    unknown = values.keys() - allowed
    if unknown:
        raise HandvizError(
            f"{path}: {table} has no {', '.join(sorted(unknown))}; there are {', '.join(sorted(allowed))}",
            ErrorCode.UNKNOWN_NAME,
        )


def _check_types(path: Path, table: str, kind: type, values: Mapping[str, Any]) -> None:
    """Raise HandvizError for a value that is not of its field's type, or not finite."""
    hints = get_type_hints(kind)
    for name, value in values.items():
        try:
            parse_json(json.dumps(value, default=str), hints[name], f"{path}: {table}.{name}", "write another value")
        except HandvizError as error:
            raise HandvizError(str(error), ErrorCode.BAD_VALUE) from error


def _made(path: Path, table: str, kind: Any, values: Mapping[str, Any]) -> Any:
    _check_names(path, table, values, {item.name for item in fields(kind)})
    made = kind(**values)  # whose own checks know more than the types
    _check_types(path, table, kind, values)
    return made


def smoke(config: TrainConfig) -> TrainConfig:
    """Return the same config with twenty steps of two crops: to test that it runs."""
    return replace(
        config,
        epochs=SMOKE_EPOCHS,
        batch_size=SMOKE_BATCH,
        limit=SMOKE_SAMPLES,
        warm_up_steps=2,
        checkpoint_every=SMOKE_EPOCHS * SMOKE_SAMPLES,
        validation=None,
    )
