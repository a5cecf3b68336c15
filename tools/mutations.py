"""Make the mutations of mutations.toml one by one in a copy of the clone, and check that tests fail for each.

A mutation is a mistake that somebody could make in the losses, networks, recipes or printed numbers: a text of a file,
another one in its place, and the tests that must notice it. The clone itself is not changed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tools
from handviz.core.arguments import Option, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.json_files import parse_json
from handviz.core.output import print_result
from handviz.core.paths import PROJECT_ROOT

LIST_FILE = Path(__file__).with_suffix(".toml")
REMEDY = "correct the list of mutations"
LIMIT_S = 900
"""For the tests of one mutation"""
PASSED, FAILED = 0, 1
"""Exit statuses of pytest"""


@dataclass(frozen=True)
class Mutation:
    """One mistake."""

    name: str
    file: str
    """Path in the clone"""
    old: str
    """A text that stands in the file once"""
    new: str
    """What takes its place"""
    tests: list[str]
    """Arguments of pytest: files, or tests in them"""


@dataclass(frozen=True)
class Outcome:
    """What the tests said."""

    status: int
    """Of pytest"""
    failed: str
    """The first test that failed; empty if none did"""

    @property
    def is_killed(self) -> bool:
        """Whether a test failed: an error of pytest itself, such as of a file that is not there, is no test."""
        return self.status == FAILED and bool(self.failed)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Which mutations are made."""

    only: Annotated[tuple[str, ...], Option(metavar="NAME ...", read=some_words, words="*")] = ()
    """Only these."""
    list: bool = False
    """Print names and files, and test nothing."""


def run(arguments: Arguments) -> int:
    """Test every mutation; return 1 if one survives."""
    mutations = chosen(read_mutations(LIST_FILE), arguments.only)
    if arguments.list:
        for mutation in mutations:
            print_result("%s: %s", mutation.name, mutation.file)
        return 0
    return survey(PROJECT_ROOT, mutations)


def read_mutations(path: Path) -> list[Mutation]:
    """Return the mutations of a file; HandvizError if it is damaged or a name stands there twice."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutation")
    except (OSError, ValueError) as error:
        raise HandvizError(f"{path} cannot be read ({error}): {REMEDY}", ErrorCode.FILE_DAMAGED) from error
    found = parse_json(json.dumps(entries), list[Mutation], str(path), REMEDY)
    names = [mutation.name for mutation in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise HandvizError(f"{path} has two mutations {twice[0]}: give one another name", ErrorCode.FILES_DISAGREE)
    return found


def chosen(mutations: Sequence[Mutation], names: Sequence[str]) -> list[Mutation]:
    """Return the mutations with these names, all without any; HandvizError for a name that none has."""
    unknown = sorted(set(names) - {mutation.name for mutation in mutations})
    if unknown:
        raise HandvizError(f"no mutation is called {unknown[0]}: --list shows their names", ErrorCode.UNKNOWN_NAME)
    return [mutation for mutation in mutations if not names or mutation.name in names]


def survey(root: Path, mutations: Sequence[Mutation]) -> int:
    """Test mutations of a clone in a copy of it, print a line for each, and return 1 if one survives."""
    for mutation in mutations:
        mutated(root, mutation)
    with tempfile.TemporaryDirectory(prefix="handviz-mutations-") as folder:
        copy = Path(folder) / root.name
        copy_tree(root, copy)
        check_imports(copy, mutations)
        check_unchanged(copy, mutations)
        survivors = [mutation.name for mutation in mutations if not is_killed(copy, mutation)]
    print_result("%d of %d mutations were noticed", len(mutations) - len(survivors), len(mutations))
    for name in survivors:
        print_result("survived: %s", name)
    return int(bool(survivors))


def mutated(root: Path, mutation: Mutation) -> str:
    """Return the mutated text of the file; HandvizError unless the old text stands there exactly once."""
    path = root / mutation.file
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise HandvizError(f"mutation {mutation.name}: {error}: {REMEDY}", ErrorCode.FILE_MISSING) from error
    if (count := text.count(mutation.old)) != 1 or mutation.old == mutation.new:
        raise HandvizError(
            f"mutation {mutation.name}: its old text stands {count} times in {mutation.file}, not once, or is the new "
            f"one too: {REMEDY}",
            ErrorCode.FILES_DISAGREE,
        )
    return text.replace(mutation.old, mutation.new)


def copy_tree(root: Path, copy: Path) -> None:
    """Copy what git knows or would add of a clone, as it lies on the disk."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise HandvizError(f"{root} is no clone that git can list: run this in one", ErrorCode.FILE_MISSING) from error
    for name in map(os.fsdecode, filter(None, listed.split(b"\0"))):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)


def check_imports(copy: Path, mutations: Sequence[Mutation]) -> None:
    """Raise HandvizError if a test in the copy would import the mutated packages from anywhere else."""
    parts = {Path(mutation.file).parts[0] for mutation in mutations if mutation.file.endswith(".py")}
    names = sorted(part.removesuffix(".py") for part in parts)
    code = "import importlib.util, sys; print(*(importlib.util.find_spec(name).origin for name in sys.argv[1:]))"
    command = [sys.executable, "-c", code, *names]
    outcome = subprocess.run(command, cwd=copy, env=_environment(copy), capture_output=True, text=True, check=False)
    found = outcome.stdout.split()
    if len(found) != len(names) or not all(Path(path).is_relative_to(copy.resolve()) for path in found):
        where = outcome.stdout.strip() or outcome.stderr[-300:]
        raise HandvizError(
            f"{', '.join(names)} would be imported from {where}, not from the copy: leave the other installation",
            ErrorCode.FILES_DISAGREE,
        )


def check_unchanged(copy: Path, mutations: Sequence[Mutation]) -> None:
    """Raise HandvizError unless the tests pass without a mutation: else they could not tell it."""
    tests = list(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    outcome = run_tests(copy, tests)
    if outcome.status != PASSED:
        raise HandvizError(
            f"the tests do not pass without any mutation ({outcome.failed or f'pytest ends with {outcome.status}'}): "
            "mend them first",
            ErrorCode.NO_RESULT,
        )


def is_killed(copy: Path, mutation: Mutation) -> bool:
    """Make a mutation in the copy, run its tests, print what they said, and undo it."""
    with _made(copy, mutation):
        outcome = run_tests(copy, mutation.tests)
    said = "survived" if outcome.status == PASSED else f"no verdict: pytest ends with {outcome.status}"
    print_result("%-45s %s", mutation.name, f"killed by {outcome.failed}" if outcome.is_killed else said)
    return outcome.is_killed


@contextmanager
def _made(copy: Path, mutation: Mutation) -> Iterator[None]:
    path = copy / mutation.file
    before = path.read_bytes()
    path.write_text(mutated(copy, mutation), encoding="utf-8", newline="")
    try:
        yield
    finally:
        path.write_bytes(before)


def run_tests(copy: Path, tests: Sequence[str]) -> Outcome:
    """Run tests in the copy until one fails."""
    command = [sys.executable, "-m", "pytest", "-x", "--tb=no", "-rfE", "-p", "no:cacheprovider", *tests]
    outcome = subprocess.run(
        command, cwd=copy, env=_environment(copy), capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    lines = (line.split(" ", 2) for line in outcome.stdout.splitlines())
    failed = next((words[1] for words in lines if words[0] in ("FAILED", "ERROR") and len(words) > 1), "")
    return Outcome(outcome.returncode, failed)


def _environment(copy: Path) -> dict[str, str]:
    """Return the environment in which the copy is imported, and no compiled file can be older than its source."""
    return os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}


if __name__ == "__main__":
    sys.exit(tools.run("mutations"))
