"""``handviz tables``: the papers' tables, filled with the results of one's own runs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from handviz.core.arguments import AsJson, Option, Positional, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import write_files
from handviz.core.output import print_json, print_text
from handviz.core.paths import RUNS
from handviz.evaluation.paper_tables import TABLES
from handviz.evaluation.recipes import load_recipe, recipe_names
from handviz.evaluation.tables import markdown, read_results

TABLE_NAMES = tuple(table.id for table in TABLES)
FORMER_NAMES = {table.name: table.id for table in TABLES if table.paper == "AMVUR"}
"""Names without a paper, from when AMVUR's was the only one."""
logger = logging.getLogger(__name__)


def table_names(words: Sequence[str]) -> tuple[str, ...]:
    """Return the tables of a list of names; ValueError if there is none, or no such table."""
    names = tuple(FORMER_NAMES.get(word, word) for word in some_words(words))
    unknown = [name for name in names if name not in TABLE_NAMES]
    if unknown:
        raise ValueError(f"there is no table {', '.join(unknown)}; there are {', '.join(TABLE_NAMES)}")
    return names


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The results' folders and the tables."""

    runs: Positional[Path] = RUNS
    """Folder of runs."""
    table: Annotated[tuple[str, ...], Option(metavar="PAPER/TABLE ...", read=table_names, words="*")] = TABLE_NAMES
    """Only these, such as amvur/1."""
    out: Annotated[Path | None, Option(metavar="FILE")] = None
    """Write them there too (Markdown)."""
    recipes: bool = False
    """Only list the recipes, and the tables that each is in."""
    as_json: AsJson = False


def run(arguments: Arguments) -> int:
    """Print the tables."""
    if arguments.recipes:
        if arguments.as_json:
            print_json(recipe_names())
        else:
            print_text(listing())
        return 0
    results = read_results(arguments.runs)
    recipes = {row.recipe for table in TABLES for row in table.rows}
    if not any(result.recipe in recipes for result in results):
        raise HandvizError(
            f"below {arguments.runs} is no result of a recipe: "
            "'handviz reproduce NAME --root FOLDER' (or --rendered) trains one and evaluates it "
            "(handviz tables --recipes lists them)",
            ErrorCode.EMPTY_INPUT,
        )
    text = markdown(results, [table for table in TABLES if table.id in arguments.table])
    if arguments.as_json:
        print_json(results)
    else:
        print_text(text)
    if arguments.out is not None:
        write_files({arguments.out: text.encode("utf-8")})
        logger.info("wrote %s", arguments.out)
    return 0


def listing() -> str:
    """Return a line a recipe: its name, its training dataset, the tables with a row of it."""
    lines = []
    for name in recipe_names():
        recipe = load_recipe(name)
        names = ", ".join(table.id for table in TABLES if any(row.recipe == name for row in table.rows))
        lines.append(f"{name:24} {recipe.dataset or 'rendered hands':20} {names or '–'}")
    return "\n".join(lines) + "\n"
