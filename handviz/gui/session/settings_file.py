"""The form of the settings file: two tables of texts, numbers and booleans, as JSON.

It is read before the window shows, and checked here by hand: importing pydantic would take longer than all the rest.
"""

import json
import math
from typing import Any

VIEW, MEMORY = "view", "memory"
MAX_BYTES = 2**24
MAX_TEXT = 2**19
"""Characters of a text, such as the list of the images that were opened last; longer ones are not saved"""
MAX_DIGITS = 15
"""Of a whole number"""
Table = dict[str, Any]
"""Values by name: str, bool, int or finite float; None for one of another kind."""


def tables_from_json(content: bytes) -> dict[str, Table]:
    """Return the tables ``view`` and ``memory``; ValueError or RecursionError if the content is something else."""
    entry = json.loads(
        content.decode("utf-8-sig"), parse_int=_whole_number, parse_float=_finite, parse_constant=lambda _: None
    )
    if not isinstance(entry, dict):
        raise ValueError("no object")
    tables = {group: entry.get(group, {}) for group in (VIEW, MEMORY)}
    if not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError("no tables")
    return {group: {name: _plain(value) for name, value in table.items()} for group, table in tables.items()}


def json_of_tables(tables: dict[str, Table]) -> bytes:
    """Return the content of the file; values that are None, and overlong texts, are left out."""
    kept = {
        group: {name: value for name, value in tables[group].items() if _is_kept(value)} for group in (MEMORY, VIEW)
    }
    return (json.dumps(kept, indent=1, allow_nan=False) + "\n").encode("ascii")


def is_path_text(value: Any) -> bool:
    """Return whether a value is a text that the system could take for a path, as most saved texts are."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        # Python's form of a name that is not UTF-8 is fine, other halves of characters are not.
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _is_kept(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and len(value) > MAX_TEXT)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | bool | int | float) else None


def _whole_number(digits: str) -> int | None:
    # Python refuses to read thousands of digits, and with them all the rest.
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
