"""Damage for files that come from elsewhere: what a broken disk, another program or ill will makes of a valid one."""

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
    """A file's bytes with up to four places cut out, overwritten or filled in; sometimes bytes without any sense."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        end = place + draw(st.sampled_from((0, 1, 2, 8, len(content))))
        content = content[:place] + draw(st.binary(max_size=8)) + content[end:]
    return content


@st.composite
def damaged_json(draw: st.DrawFn, tree: Any) -> str:
    """JSON in which up to two values anywhere in the tree are others, or are missing."""
    replaced: dict[str, str] = {}
    tree = json.loads(json.dumps(tree))
    for number in range(draw(st.integers(1, 2))):
        if not tree:
            break
        holder, key = draw(st.sampled_from(_places(tree)))
        if draw(st.booleans()) and draw(st.booleans()):
            del holder[key]
            continue
        mark = f"replaced {number}"
        replaced[json.dumps(mark)] = draw(st.sampled_from(STRANGE_JSON))
        holder[key] = mark
    text = json.dumps(tree)
    for mark, strange in replaced.items():
        text = text.replace(mark, strange)
    return text


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of the tree; of long lists the first few alone."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))[:3]
    places = [(tree, key) for key, _ in items]
    for _, value in items:
        places += _places(value) if isinstance(value, dict | list) else []
    return places
