"""Options: every one explained, no abbreviations, wrong values refused in one line, former names with a hint."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import tools
from handviz.__main__ import COMMANDS
from handviz.core.arguments import Count, Fraction, Only, Option, Positional, Seed, between
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.options import FORMER_OPTIONS, current_arguments, parsed
from handviz.gui.app import WindowArguments, parse
from tests.errors import raises

# Their packages are those of requirements-dev.txt.
NOT_LOADED = ("build_open_hand", "build_backbone")
ENTRY = re.compile(r"^  (--?\w|\[?[A-Z]{2}|\{)")


def programs() -> list[str]:
    """Return the modules of all commands and tools that take options."""
    return [f"handviz.cli.{name}" for name in COMMANDS] + [f"tools.{name}" for name in tools.overview()]


def help_of(kind: Callable[..., Any], capsys: pytest.CaptureFixture[str], *action: str) -> list[str]:
    """Return the entries of a help text, each in one line."""
    with pytest.raises(SystemExit) as stop:
        parsed(kind, "program", "What it does", [*action, "--help"])
    assert stop.value.code == 0
    entries: list[str] = []
    for line in capsys.readouterr().out.splitlines():
        if ENTRY.match(line):
            entries.append(line)
        elif entries and line.startswith("   "):
            entries[-1] += "  " + line.strip()
    return entries


@pytest.mark.parametrize("module", programs())
def test_every_option_has_a_help_text(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    kind = importlib.import_module(module).Arguments
    for action in [[]] if isinstance(kind, type) else [["train"], ["evaluate"]]:
        entries = help_of(kind, capsys, *action)
        texts = [re.sub(r"\((default: .*|required)\)$", "", entry.strip()).split("  ", 1) for entry in entries]
        assert len(entries) > 1
        assert [entry for entry in texts if len(entry) < 2 or not entry[1].strip()] == []
        assert not {entry.split()[0] for entry in entries} & FORMER_OPTIONS.keys()


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Settings of a part."""

    rate: float = 0.5
    """Rate of it."""
    secret: int = 1


@dataclass(frozen=True, kw_only=True)
class Example:
    """One of each kind.

    More of it.
    """

    input: Positional[Path]
    """What to read."""
    out: Path
    """Where to write."""
    names: tuple[str, ...]
    """At least one."""
    count: Count = 7
    """How many."""
    limit: Count | None = None
    """At most."""
    seed: Seed = 0
    """Of the numbers."""
    part: Fraction = 0.25
    """Of the whole."""
    depth: Annotated[float | None, between(-5, 5), Option(group="depth")] = None
    """In metres."""
    height: Annotated[float | None, Option(group="depth")] = None
    """In metres too."""
    kind: Annotated[Literal["a", "b"], Option("sort")] = "a"
    """Which."""
    every: bool = False
    """Every one."""
    inner: Annotated[Inner, Only("rate")] = field(default_factory=lambda: Inner(secret=5))

    def __post_init__(self) -> None:
        if self.count == 13:
            raise HandvizError("13 is too many", ErrorCode.BAD_VALUE)


NEEDED = ["in put.png", "--out", "ö", "--names", "x"]


def example(*words: str) -> Example:
    """Parse the words after those that are needed."""
    return parsed(Example, "program", "What it does", [*NEEDED, *words])


def test_the_help_tells_a_default_once_and_none_that_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    entries = help_of(Example, capsys)
    assert sum("How many. (default: 7)" in entry for entry in entries) == 1
    assert sum("At most." in entry and "default" not in entry for entry in entries) == 1
    assert sum("Every one." in entry and "default" not in entry for entry in entries) == 1
    assert sum("--rate" in entry and "Rate of it. (default: 0.5)" in entry for entry in entries) == 1
    assert not any("secret" in entry for entry in entries)


def test_the_help_has_the_description_and_the_rest_of_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(Example, "program", "What it does", ["-h"])
    text = capsys.readouterr().out
    assert text.startswith("usage: program [-h]")
    assert "\nWhat it does\n\nMore of it.\n" in text
    assert "\x1b" not in text
    assert text.isascii()


def test_values_arrive() -> None:
    found = example("--depth", "-1.5", "--every", "--sort", "b", "--rate=2", "--limit", "3", "--names", "y", "z")
    assert (found.input, found.out, found.names) == (Path("in put.png"), Path("ö"), ("y", "z"))
    assert (found.depth, found.every, found.kind, found.limit, found.count) == (-1.5, True, "b", 3, 7)
    assert found.inner == Inner(rate=2.0, secret=5)


def test_a_value_may_begin_with_a_dash() -> None:
    found = parsed(Example, "program", "", ["--out=--odd", "--names", "x", "--", "-in.png"])
    assert (found.input, found.out) == (Path("-in.png"), Path("--odd"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--count", "0"], "--count: 0 is not a whole number from 1 on"),
        (["--count", "1.5"], "--count: 1.5 is not a whole number from 1 on"),
        (["--limit", "None"], "--limit: None is not a whole number from 1 on"),
        (["--seed", "-1"], "--seed: -1 is not a whole number from 0 on"),
        (["--part", "nan"], "--part: nan is not a number from 0 to 1"),
        (["--height", "inf"], "--height: inf is not a number"),
        (["--depth", "1", "--height", "1"], "--depth and --height are not allowed together"),
        (["--sort", "c"], "'c' for argument '--sort'. Expected one of ('a', 'b')"),
        (["--names"], "--names: at least one is needed"),
        (["--cont", "3"], "Unrecognized options: --cont, 3. Perhaps you meant: --count"),
        (["--coun=3"], "--coun"),
        (["--secret", "3"], "--secret"),
        (["--every", "more"], "Unrecognized options: more"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        example(*words)
    output = capsys.readouterr()
    assert (stop.value.code, output.out) == (2, "")
    assert output.err.startswith("program: ")
    assert output.err.endswith(" (program --help)\n")
    assert output.err.count("\n") == 1
    assert said in output.err


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(Example, "program", "", [])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert [name in error for name in ("INPUT What to read.", "--out PATH", "--names", "--count")] == [True] * 3 + [
        False
    ]


def test_an_error_of_the_dataclass_passes() -> None:
    with raises(ErrorCode.BAD_VALUE):
        example("--count", "13")


def test_an_action_chooses_its_dataclass(capsys: pytest.CaptureFixture[str]) -> None:
    kind: Any = Inner | Example
    assert parsed(kind, "program", "", ["inner", "--rate", "3", "--secret", "2"]) == Inner(rate=3.0, secret=2)
    with pytest.raises(SystemExit) as stop:
        parsed(kind, "program", "", [])
    assert stop.value.code == 2
    assert "{inner, example}" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_the_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(Example, "handviz reconstruct", "", ["--tyro-print-completion", shell])
    assert not stop.value.code
    assert "count" in capsys.readouterr().out


def test_former_options_work_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["clip.mp4", "--variant", "prior", "--colour", "deviation", "--hand-breadth=84", "--colour=deviation"]
    assert current_arguments("handviz reconstruct", given) == [
        "clip.mp4", "--model", "prior", "--colour", "uncertainty", "--hand-width=84", "--colour=uncertainty",
    ]  # fmt: skip
    hints = capsys.readouterr().err.splitlines()
    assert hints[0] == "handviz reconstruct: --variant is called --model now; the old name goes with the next version"
    assert len(hints) == 4


def test_present_options_pass_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["deviation", "--out", "deviation", "--model", "final"]
    assert current_arguments("handviz", given) == given
    assert capsys.readouterr().err == ""


def test_the_window_takes_former_options_too() -> None:
    assert parse(["--variant", "prior", "--colour", "deviation"]) == WindowArguments(
        model="prior", colour="uncertainty"
    )
