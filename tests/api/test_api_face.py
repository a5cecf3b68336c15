"""The names of the package, and what importing them loads."""

import inspect
import subprocess
import sys

import pytest

import handviz
from handviz.core.paths import PROJECT_ROOT


def test_importing_handviz_loads_nothing_else() -> None:
    script = (
        "import sys; before = set(sys.modules); import handviz; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "sys.exit(str(new - set(sys.stdlib_module_names)) if new - set(sys.stdlib_module_names) != {'handviz'} else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_image_needs_no_torch_qt_opengl_or_scipy() -> None:
    script = (
        "import sys, numpy, handviz\n"
        "with handviz.load('final', device='cpu') as model:\n"
        "    model(numpy.zeros((64, 64, 3), numpy.uint8))\n"
        "sys.exit(', '.join({'torch', 'PyQt6', 'pytest', 'scipy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_public_name_is_there_and_documented() -> None:
    for name in handviz.__all__:
        value = getattr(handviz, name)
        assert name.startswith("__") or inspect.getdoc(value), name
    assert set(handviz.__all__) <= set(dir(handviz))
    with pytest.raises(AttributeError, match="lod"):
        getattr(handviz, "lod")  # noqa: B009 - mypy refuses the attribute, see test_api_types.py
