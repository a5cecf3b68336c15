"""The package of the page on own models, as it is printed."""

import re
import tomllib
from typing import Any

import numpy as np
import pytest

from handviz.cli.doctor import check_families
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import HandCrop
from handviz.models.base import PROVISIONS, LoadContext
from handviz.models.onnx_contract import (
    CONSTANT_STD_KEY,
    FINGERPRINT_KEY,
    HAND_MODEL_KEY,
    INPUT_KEY,
    MAX_CROP_PX,
    MIN_CROP_PX,
    MODEL_KEY,
    OPTIONAL_OUTPUTS,
    PROVIDES_KEY,
    VARIANT_KEY,
)
from handviz.models.reconstructor import LoadedModel
from handviz.models.registry import ENTRY_POINTS, model_spec
from tests.hands import made_up_detection
from tests.made_up_families import installed

PAGE = (PROJECT_ROOT / "docs" / "guide" / "own_model.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the only block of that language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


@pytest.fixture(scope="module")
def module() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block("python"), "my_hands.py", "exec"), names)
    return names


def test_the_family_of_the_page_is_accepted_and_answers(module: dict[str, Any]) -> None:
    with installed(my_hands=module["FAMILY"]):
        spec = model_spec("resting")
        assert "My hands of my_hands: resting" in check_families()[0].detail
    crop = HandCrop(np.zeros((128, 128, 3), np.uint8), np.eye(2, 3), made_up_detection())
    hands = LoadedModel(spec, LoadContext()).reconstruct([crop, crop])
    assert [hand.vertices_m.shape for hand in hands] == [(778, 3)] * 2


def test_the_entry_point_of_the_page_names_it(module: dict[str, Any]) -> None:
    points = tomllib.loads(block("toml"))["project"]["entry-points"][ENTRY_POINTS]
    assert points == {"my_hands": "my_hands:FAMILY"}
    assert "FAMILY" in module


def test_the_page_names_all_provisions_outputs_and_metadata() -> None:
    keys = (MODEL_KEY, VARIANT_KEY, FINGERPRINT_KEY, HAND_MODEL_KEY, INPUT_KEY, PROVIDES_KEY, CONSTANT_STD_KEY)
    for name in (*PROVISIONS, *OPTIONAL_OUTPUTS, *keys):
        assert f"`{name}`" in PAGE, name
    assert f"S from {MIN_CROP_PX} to {MAX_CROP_PX}" in PAGE
