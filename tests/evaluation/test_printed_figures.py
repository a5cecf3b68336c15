"""Every printed number of the paper's tables against two other readings: one typed here, one parsed from the documents.

The documents lie beside some checkouts (../shared/seeds) and in no repository. Where they are missing the typed reading
stands in for them: it alone notices a wrong digit in ``paper_tables.toml``.
"""

import re
from pathlib import Path

import pytest

from handviz.core.paths import PROJECT_ROOT
from handviz.evaluation.paper_tables import TABLES
from tests.evaluation.printed_figures import COLUMNS, Key, printed

COUNT = 174
WITHOUT_NUMBERS = {"paper, Table 6"}
MARK = "\N{CHECK MARK}"
NUMBER = re.compile(r"\d+\.\d+")


def test_every_printed_number_is_the_one_typed_apart() -> None:
    """Row by row: its recipe, and each figure in the column of its name."""
    ours = {
        (table.source, row.printed): (row.recipe, dict(row.numbers))
        for table in TABLES
        for row in table.rows
        if row.numbers
    }
    typed = {
        key: (recipe, dict(zip(COLUMNS[key[0]], map(float, numbers), strict=True)))
        for key, (recipe, numbers) in printed().items()
    }
    assert ours == typed
    assert sum(len(numbers) for _, numbers in ours.values()) == COUNT


def test_tables_without_numbers_are_those_that_are_lost() -> None:
    assert {table.source for table in TABLES if not any(row.numbers for row in table.rows)} == WITHOUT_NUMBERS
    assert {table.source for table in TABLES} == {*COLUMNS, *WITHOUT_NUMBERS}


def test_a_table_is_called_by_its_number_in_the_source() -> None:
    for table in TABLES:
        document, _, number = table.source.partition(", Table ")
        assert table.name == ("S" if document == "supplement" else "") + number


@pytest.fixture(scope="module")
def seeds() -> Path:
    """Return the folder of the documents beside the checkout, which are not in the repository."""
    folder = PROJECT_ROOT.parent / "shared" / "seeds"
    if not folder.is_dir():
        pytest.skip("the documents of ../shared/seeds are in no repository; the numbers typed apart stand in for them")
    return folder


def rows_of_paper(text: str) -> dict[Key, tuple[str, ...]]:
    """Return the printed numbers of the paper's text, whose captions and headings are lost.

    The tables of results come first in the order of their numbers, three rows of ours in either scheme; then the two
    of marks, four rows each; then the four experiments.
    """
    ours, marks, found = [], [], {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        numbers = tuple(cell for cell in cells if NUMBER.fullmatch(cell))
        if cells[0].startswith("Ours") and len(numbers) == len(COLUMNS["paper, Table 1"]):
            ours.append((cells[0], numbers))
        elif cells[0] == MARK:
            marks.append((cells.count(MARK), numbers))
        elif cells[0] in tuple("ABCD") and len(cells) > 3:
            found["paper, Table 5", f"{cells[0]}, {cells[1]}"] = numbers
    for place, (name, numbers) in enumerate(ours):
        scheme = ("Supervised", "Weakly-Supervised")[place // 3 % 2]
        found[f"paper, Table {1 + place // 6}", f"{scheme}, {name}"] = numbers
    for place, (count, numbers) in enumerate(marks):
        found[f"paper, Table {3 + place // 4}", f"row {count}"] = numbers
    return found


def rows_of_supplement(text: str) -> dict[Key, tuple[str, ...]]:
    """Return the printed numbers of the supplement's text, whose tables have their captions above them."""
    found: dict[Key, tuple[str, ...]] = {}
    table = scheme = ""
    columns: list[str] = []
    for line in text.splitlines():
        if caption := re.match(r"Table (\d)\. ", line):
            table, scheme = f"supplement, Table {caption[1]}", ""
        cells = [cell.strip() for cell in line.split("\t")]
        numbers = tuple(cell for cell in cells if NUMBER.fullmatch(cell))
        scheme = cells[0].strip("<i>/") if cells[0] and len(cells) > 1 else scheme
        if cells[0] == MARK:
            found[table, f"row {cells.count(MARK)}"] = numbers
        elif len(cells) > 1 and cells[1] in ("Ours(final)", "Ours", "L2"):
            found[table, f"{scheme}, {cells[1]}"] = numbers
        elif "Ours" in cells:
            columns = cells
        elif columns and numbers:
            names = ("Supervised methods, Ours", "Weakly Supervised methods, Ours")
            places = [place for place, cell in enumerate(columns) if cell == "Ours"]
            found |= {(table, name): (cells[place],) for name, place in zip(names, places, strict=True)}
            columns = []
    return found


def test_the_numbers_typed_apart_are_those_of_the_documents(seeds: Path) -> None:
    """Uses ../shared; its twin, which runs everywhere, is the comparison with the numbers typed apart."""
    (paper,), (supplement,) = seeds.glob("002_*.txt"), seeds.glob("001_*.txt")
    found = rows_of_paper(paper.read_text(encoding="utf-8"))
    found |= rows_of_supplement(supplement.read_text(encoding="utf-8"))
    assert found == {key: numbers for key, (_, numbers) in printed().items()}
