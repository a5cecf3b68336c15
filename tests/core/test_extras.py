"""Extras: which brings what, and what is said where a package is missing or does not load."""

import pytest

from handviz.core import extras
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.extras import exits_with_message, import_failure, imports_explained, install_line, missing_modules
from tests.errors import raises


@pytest.mark.parametrize(
    ("is_clone", "line"), [(True, 'pip install -e "FOLDER[train]"'), (False, 'pip install "handviz[train]"')]
)
def test_the_line_to_type(monkeypatch: pytest.MonkeyPatch, is_clone: bool, line: str) -> None:
    monkeypatch.setattr(extras, "IS_CLONE", is_clone)
    monkeypatch.setattr(extras, "PROJECT_ROOT", "FOLDER")
    assert install_line("train") == line


def test_missing_modules_are_those_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"numpy": ("gui",), "handviz_does_not_exist": ("gui",), "handviz_neither": ("train",)}
    monkeypatch.setattr(extras, "EXTRAS_OF_MODULE", known)
    assert missing_modules("gui") == ["handviz_does_not_exist"]


@pytest.mark.parametrize(
    ("module", "extra"), [("torch.nn", "train"), ("PyQt6.QtCore", "gui"), ("onnx", "gui"), ("ray", "cluster")]
)
def test_a_missing_package_names_its_extra(module: str, extra: str) -> None:
    with (
        raises(ErrorCode.PACKAGE_MISSING, match=rf"^{module.partition('.')[0]} .*{extra}"),
        imports_explained(),
    ):
        raise ModuleNotFoundError(name=module)


def test_a_missing_package_of_the_base_sends_to_the_doctor() -> None:
    with raises(ErrorCode.PACKAGE_MISSING, match="doctor"), imports_explained():
        raise ModuleNotFoundError(name="mediapipe")


def test_a_library_that_the_system_lacks_sends_to_the_doctor() -> None:
    with raises(ErrorCode.PACKAGE_MISSING, match=r"libEGL.*doctor"), imports_explained():
        raise ImportError("libEGL.so.1: cannot open shared object file", name="PyQt6.QtGui")


@pytest.mark.parametrize("module", ["handviz.core.absent", "tkinter", None])
def test_a_fault_in_handviz_stays_what_it_is(module: str | None) -> None:
    assert import_failure(ModuleNotFoundError(name=module)) is None
    with pytest.raises(ModuleNotFoundError), imports_explained():
        raise ModuleNotFoundError(name=module)


def test_a_program_ends_with_one_line(capsys: pytest.CaptureFixture) -> None:
    @exits_with_message
    def program(module: str) -> int:
        if module:
            raise ModuleNotFoundError(name=module)
        return 3

    assert program("") == 3
    assert program("torch") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert install_line("train") in line


def test_errors_of_handviz_pass() -> None:
    with raises(ErrorCode.NO_HANDS), imports_explained():
        raise HandvizError("no hands: show one", ErrorCode.NO_HANDS)
