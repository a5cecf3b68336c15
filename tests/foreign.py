"""Damaged versions of valid files, as made by a broken disk, another program or an attacker."""

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same examples in every run; temporary folders are made anew by each test's own code.
FEW = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# The names of json.loads's constants, numbers that no float or no int64 holds, and every kind of value.
STRANGE_JSON = (
    *("null", "true", "-1", "0", "1e400", "NaN", "-Infinity", "1" + "0" * 400, "1" + "0" * 5000, "0.5", '""', '"x"'),
    *('"\\ud800"', '"\\u0000"', "[]", "[[]]", "[1, [2]]", "{}", '{"a": 1}', "[" * 2000 + "]" * 2000),
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw a file's bytes with up to four cuts, overwrites or insertions; sometimes random bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.sampled_from((0, 1, 2, 8, len(content))))
        content = content[:start] + draw(st.binary(max_size=8)) + content[end:]
    return content


@st.composite
def damaged_json(draw: st.DrawFn, tree: Any) -> str:
    """Draw JSON in which up to two values anywhere in the tree are others, or are missing."""
    replaced: dict[str, str] = {}
    tree = json.loads(json.dumps(tree))
    for number in range(draw(st.integers(1, 2))):
        if not tree:
            break
        container, key = draw(st.sampled_from(_entries(tree)))
        if draw(st.booleans()) and draw(st.booleans()):
            del container[key]
            continue
        mark = f"replaced {number}"
        replaced[json.dumps(mark)] = draw(st.sampled_from(STRANGE_JSON))
        container[key] = mark
    text = json.dumps(tree)
    for mark, strange in replaced.items():
        text = text.replace(mark, strange)
    return text


def _entries(tree: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of the tree; of long lists only the first few."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))[:3]
    entries = [(tree, key) for key, _ in items]
    for _, value in items:
        entries += _entries(value) if isinstance(value, dict | list) else []
    return entries
