"""Kills: what is lost is told, and nothing is."""

from pathlib import Path
from random import Random

import pytest

import tools
from handviz.core.errors import ErrorCode, HandvizError
from tools import kills


@pytest.mark.slow
def test_nothing_that_was_told_as_done_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.run("kills", ["--kills", "4", "--victims", "inspect,settings,shards,record"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:4] == ["all", "4", "kills", "0"]


@pytest.mark.parametrize(("found", "is_lost"), [(7, False), (8, False), (6, True), (None, True)])
def test_fewer_than_told_are_a_loss(found: int | None, is_lost: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(folder: Path, told: int) -> int:
        if found is None:
            raise HandvizError("damaged", ErrorCode.FILE_DAMAGED)
        return found

    monkeypatch.setattr(kills, "kill", lambda *_: 7)
    monkeypatch.setitem(kills.CHECKS, "settings", check)
    assert bool(kills.lost("settings", Random(0))) == is_lost
    assert tools.run("kills", ["--kills", "1", "--victims", "settings"]) == int(is_lost)
