"""Builders of committed files."""

import pytest

import tools
from tools.build import BUILDERS


def test_building_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(BUILDERS, "clip", ("handviz_does_not_exist", "build"))
    assert tools.run("build", ["clip"]) == 1
    assert "pip install -r requirements-dev.txt" in capsys.readouterr().err
