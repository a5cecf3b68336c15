"""What takes long to make is made once a run: the first process that needs it makes it, and the others copy it.

Exported networks are such things: the same network is the same file, and an export takes ten seconds.
"""

import hashlib
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "network.onnx"
OWN_DICTS = frozenset({"_parameters", "_buffers", "_modules"})
"""What ``key_of`` reads through a module's methods."""


def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the temporary folder that all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` fills if no process of this run has done so before.

    Nobody changes it: tests that may write into it take a copy.
    """
    done = folder.with_name(f"{folder.name}.done")
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            # Left by one that failed.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def own_settings(module: "nn.Module") -> dict[str, Any]:
    """Return a module's attributes beside its numbers and parts; sets in order, which else differs by process."""
    own = {key: value for key, value in vars(module).items() if key not in OWN_DICTS}
    return {key: sorted(value) if isinstance(value, set) else value for key, value in own.items()}


def key_of(network: "nn.Module", inputs: Sequence["Tensor"], options: dict[str, Any]) -> str:
    """Return a hash of all that an exported file depends on: modules, their numbers and settings, and the options.

    Whatever pickle cannot write, such as a lambda, is an error.
    """
    digest = hashlib.sha256()
    for name, module in network.named_modules(remove_duplicate=False):
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        if "<locals>" in kind:
            raise TypeError(f"{kind} may be another class under the same name")
        digest.update(pickle.dumps((name, kind, own_settings(module))))
    numbers: dict[int, int] = {}
    parameters = network.named_parameters(remove_duplicate=False)
    for name, value in (*parameters, *network.named_buffers(remove_duplicate=False)):
        # A number that two modules share is stored once.
        place = numbers.setdefault(id(value), len(numbers))
        digest.update(repr((name, place, value.dtype, value.shape)).encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    shapes = [(value.dtype, value.shape) for value in inputs]
    settings = {key: value for key, value in options.items() if key != "dynamic_shapes"}
    digest.update(repr((shapes, sorted(settings.items()), options.get("dynamic_shapes"))).encode())
    return digest.hexdigest()


def remember_exports(store: Path, patch: pytest.MonkeyPatch) -> None:
    """Let ``torch.onnx.export`` copy the file of a network that a process of this run has exported before.

    Does nothing where torch is not loaded, which takes seconds.
    """
    if "torch" not in sys.modules:
        return
    import torch

    export = torch.onnx.export

    def remembered(network: "nn.Module", inputs: tuple["Tensor", ...], path: str, **options: Any) -> None:
        if options.get("external_data", True):
            # Its numbers may lie in a second file, which the first one names.
            export(network, inputs, path, **options)
            return
        try:
            key = key_of(network, inputs, options)
        except (AttributeError, TypeError, pickle.PicklingError):
            export(network, inputs, path, **options)
            return
        made = made_once(store / key[:32], lambda folder: export(network, inputs, str(folder / FILE), **options))
        shutil.copyfile(made / FILE, path)

    patch.setattr(torch.onnx, "export", remembered)
