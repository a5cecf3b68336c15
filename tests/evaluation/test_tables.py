"""The paper's tables, filled from results on the disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from handviz.__main__ import main
from handviz.evaluation.paper_tables import FIGURES, TABLES
from handviz.evaluation.recipes import recipe_names
from handviz.evaluation.tables import COLUMN_OF, Result, as_json, markdown, read_results

FIGURES_FOUND = {column: 1.0 + place / 8 for place, column in enumerate(COLUMN_OF.values())}


def result(folder: Path, **changes: object) -> Result:
    """What an evaluation of ho3d_v2_final left."""
    made = Result(
        path=folder / "official.json",
        recipe="ho3d_v2_final",
        model="last",
        dataset="ho3d_v2",
        split="evaluation",
        samples=11_524,
        crops_seen=1_000,
        figures=FIGURES_FOUND,
    )
    made = replace(made, **changes)
    made.path.parent.mkdir(parents=True, exist_ok=True)
    made.path.write_bytes(as_json(made, {"procrustes_mpjpe_mm": (1.0, 2.0)}))
    return made


def test_every_row_s_recipe_is_there_and_every_recipe_has_a_row() -> None:
    rows = {row.recipe for table in TABLES for row in table.rows if table.name != "6"}
    assert rows == set(recipe_names())
    for table in TABLES:
        assert set(table.figures) <= FIGURES.keys()
        for row in table.rows:
            assert row.numbers.keys() in (set(), set(table.figures))


def test_results_are_read_back(tmp_path: Path) -> None:
    written = [result(tmp_path / "a"), result(tmp_path / "b", recipe="")]
    assert read_results(tmp_path) == written


def test_numbers_stand_beside_the_paper_s(tmp_path: Path) -> None:
    text = markdown([result(tmp_path / "run")])
    (row,) = (line for line in text.splitlines() if line.startswith("| supervised: final | 0.835"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["supervised: final", "0.835", "1.000", "8.3", "1.1", "0.836", "1.250", "8.2", "1.4",
                     "0.608", "1.500", "0.965", "1.625"]  # fmt: skip
    assert "| supervised: prior-net | 0.783 | – | 10.9 | – |" in text
    assert "- supervised: final: run, 1,000 crops seen, 11,524 samples of ho3d_v2/evaluation" in text


def test_the_longest_run_on_the_right_split_is_taken(tmp_path: Path) -> None:
    found = [
        result(tmp_path / "short"),
        result(tmp_path / "long", crops_seen=9_000, figures={"procrustes_mpjpe_mm": 7.7}),
        result(tmp_path / "elsewhere", crops_seen=99_000, split="train"),
    ]
    text = markdown(found)
    assert "| supervised: final | 0.835 | – | 8.3 | 7.7 |" in text
    assert "elsewhere" not in text


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"[]",
        b'{"handviz_official": 1}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture) -> None:
    result(tmp_path / "run").path.write_bytes(damage)
    assert main(["tables", str(tmp_path)]) == 1
    assert "official.json cannot be used" in capsys.readouterr().err


def test_a_figure_that_is_no_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    made = result(tmp_path / "run")
    entry = json.loads(made.path.read_text())
    entry["figures"]["root_f5"] = "3"
    made.path.write_text(json.dumps(entry))
    assert main(["tables", str(tmp_path)]) == 1
    assert "'root_f5' is no number" in capsys.readouterr().err


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    result(tmp_path / "run")
    out = tmp_path / "tables.md"
    assert main(["tables", str(tmp_path), "--table", "S5", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert out.read_text(encoding="utf-8") == printed
    assert "| supervised: final | 19.2 | 1.8 |" in printed
    assert "Table 1" not in printed


def test_nothing_to_fill_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["tables", str(tmp_path)]) == 1
    assert "no result of a recipe" in capsys.readouterr().err
    assert main(["tables", str(tmp_path / "nowhere")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_recipes_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main(["tables", "--recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(recipe_names())
    (final,) = (line for line in lines if line.startswith("ho3d_v2_final "))
    assert final.split(maxsplit=2)[1:] == ["ho3d_v2/train", "Table 1, 3, 5, S3, S4, S5"]
