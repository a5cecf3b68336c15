"""The paper's tables, filled from results on the disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from handviz.__main__ import main
from handviz.evaluation.paper_tables import FIGURES, TABLES
from handviz.evaluation.recipes import recipe_names
from handviz.evaluation.tables import COLUMN_OF, RENDERED, UNLIKE, Result, as_json, markdown, read_results
from tests.errors import wrong_usage

FIGURES_FOUND = {column: 1.0 + place / 8 for place, column in enumerate(COLUMN_OF.values())}


def result(folder: Path, **changes: object) -> Result:
    """Write the result of an evaluation of ho3d_v2_final."""
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
    written = [result(tmp_path / "a"), result(tmp_path / "b", recipe="", conditions="600 steps")]
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


def test_a_result_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    made = result(tmp_path / "run")
    entry = json.loads(made.path.read_text())
    del entry["conditions"]
    made.path.write_text(json.dumps(entry))
    assert read_results(tmp_path) == [made]


def rendered(folder: Path, **changes: object) -> Result:
    """Write the result of the cheap form of ho3d_v2_final."""
    made = {"dataset": RENDERED, "split": "hands", "samples": 2_000, "conditions": "600 steps"}
    return result(folder, **(made | changes))


def test_a_rendered_number_stands_apart_and_says_so_itself(tmp_path: Path) -> None:
    found = [result(tmp_path / "dataset"), rendered(tmp_path / "cheap", crops_seen=99_000)]
    of_datasets, of_rendered = markdown(found).split("## Rendered hands: no results on a dataset")
    assert of_datasets.strip() == markdown(found[:1]).strip(), "the tables of datasets are as without it"
    assert "cheap" not in of_datasets
    titles = [line for line in of_rendered.splitlines() if line.startswith("### ")]
    assert len(titles) == len([table for table in TABLES if any(row.recipe == "ho3d_v2_final" for row in table.rows)])
    assert all(title.startswith("### AMVUR, Table ") and "RENDERED HANDS" in title for title in titles)
    rows = [line for line in of_rendered.splitlines() if line.startswith("| ") and "paper" not in line]
    ours = [cell.strip() for row in rows for cell in row.strip("|").split("|")[2::2]]
    assert {cell for cell in ours if cell != "–"}
    assert all(cell == "–" or cell.endswith(" r") for cell in ours)
    assert "| supervised: final | 0.835 | 1.000 r | 8.3 | 1.1 r |" in of_rendered
    assert "cheap, 99,000 crops seen, 2,000 samples of rendered/hands; 600 steps" in of_rendered
    assert UNLIKE not in of_rendered


def test_without_a_rendered_result_there_is_no_such_table(tmp_path: Path) -> None:
    assert "rendered hands" not in markdown([result(tmp_path / "run")]).lower().replace(
        "rendered held-out hands", "Table 6's title"
    )


@pytest.mark.parametrize("change", [{"conditions": "450 steps"}, {"samples": 7}, {"split": "others"}])
def test_rendered_rows_that_were_not_made_alike_are_not_compared(tmp_path: Path, change: dict[str, object]) -> None:
    rows = [rendered(tmp_path / "a"), rendered(tmp_path / "b", recipe="ho3d_v2_dense", **change)]
    alike = [rows[0], rendered(tmp_path / "c", recipe="ho3d_v2_dense")]
    assert markdown(rows).count(UNLIKE) == 1, "of Table 5 alone"
    assert UNLIKE not in markdown(alike)


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
    assert "(figures.root_f5: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["amvur/S5", "S5"])
def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    result(tmp_path / "run")
    out = tmp_path / "tables.md"
    assert main(["tables", str(tmp_path), "--table", name, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert out.read_text(encoding="utf-8") == printed
    assert "| supervised: final | 19.2 | 1.8 |" in printed
    assert [line for line in printed.splitlines() if line.startswith("### ")] == [
        f"### {table.heading}" for table in TABLES if table.name == "S5"
    ]


def test_a_table_that_no_paper_has_is_wrong_usage(capsys: pytest.CaptureFixture) -> None:
    with wrong_usage():
        main(["tables", "--table", "amvur/7"])
    message = capsys.readouterr().err
    assert "amvur/7" in message
    assert "amvur/S5" in message


def test_a_table_is_called_by_its_paper() -> None:
    names = [table.id for table in TABLES]
    assert len(names) == len(set(names)) == 10
    assert {name.partition("/")[0] for name in names} == {"amvur"}
    other = replace(TABLES[0], paper="SiMA-Hand", name="2")
    assert (other.id, other.heading) == ("sima_hand/2", f"SiMA-Hand, Table 2: {TABLES[0].title}")


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
    assert final.split(maxsplit=2)[1:] == ["ho3d_v2/train", "amvur/1, amvur/3, amvur/5, amvur/S3, amvur/S4, amvur/S5"]
