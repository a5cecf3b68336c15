"""Mutations: the list fits the clone, and on a tree of two lines what is tested dies and what is not survives."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import tools
from handviz.core.errors import ErrorCode
from handviz.core.paths import PROJECT_ROOT
from tests.errors import raises
from tools import mutations
from tools.mutations import LIST_FILE, Mutation, check_imports, mutated, read_mutations, survey

TOY = "def double(number):\n    return 2 * number\n\n\ndef half(number):\n    return number / 2\n"
TESTS = "from toy import double\n\n\ndef test_double():\n    assert double(3) == 6\n"
NOTICED = Mutation("three_times", "toy.py", "2 * number", "3 * number", ["test_toy.py"])
UNNOTICED = Mutation("a_third", "toy.py", "number / 2", "number / 3", ["test_toy.py"])


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a clone of two functions, of which one is tested."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tmp_path / "toy"
    root.mkdir()
    (root / "toy.py").write_text(TOY)
    (root / "test_toy.py").write_text(TESTS)
    (root / ".gitignore").write_text("private/\n")
    (root / "private").mkdir()
    (root / "private" / "weights").write_text("large")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


def test_the_list_fits_the_clone() -> None:
    """Each old text stands in its file once, and the tests are there; else the list must follow the code."""
    for mutation in read_mutations(LIST_FILE):
        assert mutated(PROJECT_ROOT, mutation)
        for test in mutation.tests:
            path, _, name = test.partition("::")
            assert not name or f"def {name}(" in (PROJECT_ROOT / path).read_text(encoding="utf-8"), test
            assert (PROJECT_ROOT / path).is_file(), test


def test_what_is_tested_dies_and_what_is_not_survives(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert survey(toy, [NOTICED, UNNOTICED]) == 1
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["three_times", "killed by test_toy.py::test_double"],
        ["a_third", "survived"],
        ["1", "of 2 mutations were noticed"],
        ["survived:", "a_third"],
    ]
    assert (toy / "toy.py").read_text() == TOY, "the clone itself is not touched"


def test_all_killed_is_status_0(toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mutations, "PROJECT_ROOT", toy)
    monkeypatch.setattr(mutations, "read_mutations", lambda _: [NOTICED, UNNOTICED])
    assert tools.run("mutations", ["--only", "three_times"]) == 0
    assert capsys.readouterr().out.endswith("1 of 1 mutations were noticed\n")


def test_tests_that_cannot_run_kill_nothing(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mutation that breaks the file itself is no mistake that a test noticed."""
    broken = replace(NOTICED, new="2 *** number")
    assert survey(toy, [broken]) == 1
    assert "no verdict: pytest ends with 2" in capsys.readouterr().out


def test_tests_that_fail_already_are_said(toy: Path) -> None:
    (toy / "test_toy.py").write_text(TESTS.replace("6", "7"))
    with raises(ErrorCode.NO_RESULT, match="test_toy.py::test_double"):
        survey(toy, [NOTICED])


def test_only_what_belongs_to_the_clone_is_copied(toy: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    mutations.copy_tree(toy, copy)
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "test_toy.py", "toy.py"]
    with raises(ErrorCode.FILE_MISSING):
        mutations.copy_tree(tmp_path / "nowhere", copy)


def test_another_installation_is_not_tested(toy: Path, tmp_path: Path) -> None:
    with raises(ErrorCode.FILES_DISAGREE, match="not from the copy"):
        check_imports(tmp_path, [replace(NOTICED, file="json/decoder.py")])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"old": "4 * number"}, ErrorCode.FILES_DISAGREE),
        ({"old": "number"}, ErrorCode.FILES_DISAGREE),
        ({"new": "2 * number"}, ErrorCode.FILES_DISAGREE),
        ({"file": "other.py"}, ErrorCode.FILE_MISSING),
    ],
)
def test_an_old_text_that_is_not_there_once_is_refused(toy: Path, change: dict[str, str], code: ErrorCode) -> None:
    with raises(code, match="three_times"):
        survey(toy, [replace(NOTICED, **change)])


ENTRY = '[[mutation]]\nname = "a"\nfile = "b"\nold = "c"\nnew = "d"\ntests = ["e"]\n'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[", ErrorCode.FILE_DAMAGED),
        ("", ErrorCode.FILE_DAMAGED),
        (ENTRY.replace('new = "d"\n', ""), ErrorCode.FILE_DAMAGED),
        (ENTRY + ENTRY, ErrorCode.FILES_DISAGREE),
    ],
)
def test_a_damaged_list_is_said(tmp_path: Path, text: str, code: ErrorCode) -> None:
    path = tmp_path / "list.toml"
    path.write_text(text)
    with raises(code, match=r"list\.toml"):
        read_mutations(path)
    path.write_text(ENTRY)
    assert read_mutations(path) == [Mutation("a", "b", "c", "d", ["e"])]


def test_names_are_listed_and_a_wrong_one_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.run("mutations", ["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(read_mutations(LIST_FILE))
    assert tools.run("mutations", ["--only", "nothing"]) == 1
    assert "no mutation is called nothing" in capsys.readouterr().err
