"""Optional packages: the extra that brings each, and the line to type where one is missing."""

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import IS_CLONE, PROJECT_ROOT

PURPOSES = {
    "gui": "the window",
    "train": "train, evaluate, export, adapt, reproduce, and the readers of datasets",
    "cluster": "reconstructing folders on several machines",
}
"""The extras, and what each is for."""
EXTRAS_OF_MODULE = {
    "PyQt6": ("gui",),
    "cv2_enumerate_cameras": ("gui",),
    "matplotlib": ("train",),
    "onnx": ("gui", "train"),
    "onnxscript": ("train",),
    "ray": ("cluster",),
    "safetensors": ("train",),
    "skimage": ("train",),
    "torch": ("train",),
    "yaml": ("train",),
}
"""Import name -> extras that bring it, the smallest first; pyproject.toml declares the same."""
Parameters = ParamSpec("Parameters")


def install_line(extra: str) -> str:
    """Return what to type for an extra; quoted so that every shell takes it."""
    return f'pip install -e "{PROJECT_ROOT}[{extra}]"' if IS_CLONE else f'pip install "handviz[{extra}]"'


def missing_modules(extra: str) -> list[str]:
    """Return the import names that an extra brings and that are not installed."""
    modules = [module for module, extras in EXTRAS_OF_MODULE.items() if extra in extras]
    return [module for module in modules if importlib.util.find_spec(module) is None]


def import_failure(error: ImportError) -> HandvizError | None:
    """Return the error with its remedy for a package that is missing or does not load; None for a fault in handviz."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "handviz") or package in sys.stdlib_module_names:
        return None
    if not isinstance(error, ModuleNotFoundError):
        return HandvizError(
            f"{package} does not load ({error}): 'handviz doctor' names what this system lacks",
            ErrorCode.PACKAGE_MISSING,
        )
    if package not in EXTRAS_OF_MODULE:
        return HandvizError(
            f"{package} is not installed: 'handviz doctor' names all that is missing", ErrorCode.PACKAGE_MISSING
        )
    line = install_line(EXTRAS_OF_MODULE[package][0])
    return HandvizError(f"{package} is not installed; type: {line}", ErrorCode.PACKAGE_MISSING)


@contextmanager
def imports_explained() -> Iterator[None]:
    """Raise a HandvizError with the line to type instead of the ImportError of a package that is missing."""
    try:
        yield
    except ImportError as error:
        explained = import_failure(error)
        if explained is None:
            raise
        raise explained from error


def exits_with_message(program: Callable[Parameters, int]) -> Callable[Parameters, int]:
    """Make a program end with one line on stderr and status 1 where a package is missing."""

    @functools.wraps(program)
    def run(*arguments: Parameters.args, **named: Parameters.kwargs) -> int:
        try:
            with imports_explained():
                return program(*arguments, **named)
        except HandvizError as error:
            sys.stderr.write(f"handviz: {error}\n")
            return 1

    return run
