"""What is made once a run: made again only if it failed, and a network's file only for the very same network."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.made_once import FILE, made_once, remember_exports


class Scaled(nn.Module):
    """An image times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.layer = nn.Linear(3, 2)
        self.register_buffer("shift", torch.zeros(2), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image) * self.factor + self.shift


def test_the_first_one_makes_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    made: list[str] = []

    def make(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        (folder / "part").touch()
        made.append(folder.name)
        if len(made) == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made_once(tmp_path / "store" / "one", make)
    for _ in range(2):
        assert [path.name for path in made_once(tmp_path / "store" / "one", make).iterdir()] == ["part"]
    assert made == ["one", "one"]


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of all real exports, which write a number."""
    exports: list[str] = []

    def export(_: nn.Module, inputs: tuple[Tensor, ...], path: str, **options: object) -> None:
        exports.append(f"{inputs[0].shape[1]} {options}")
        Path(path).write_text(str(len(exports)))

    monkeypatch.setattr(torch.onnx, "export", export)
    remember_exports(tmp_path / "exports", monkeypatch)
    return exports


def file_of(network: nn.Module, folder: Path, width: int = 3, **options: object) -> str:
    options = {"external_data": False, **options}
    torch.onnx.export(network, (torch.zeros(2, width),), str(folder / FILE), **options)  # type: ignore[arg-type]
    return (folder / FILE).read_text()


def network(factor: float = 2.0) -> Scaled:
    torch.manual_seed(0)
    return Scaled(factor).eval()


def test_the_same_network_is_exported_once(exported: list[str], tmp_path: Path) -> None:
    assert file_of(network(), tmp_path, opset_version=18) == file_of(network(), tmp_path, opset_version=18) == "1"
    assert len(exported) == 1


def test_a_network_that_may_have_a_second_file_is_exported_each_time(exported: list[str], tmp_path: Path) -> None:
    assert [file_of(network(), tmp_path, external_data=True) for _ in range(2)] == ["1", "2"]
    assert len(exported) == 2


@pytest.mark.usefixtures("exported")
def test_a_network_that_differs_in_anything_is_exported(tmp_path: Path) -> None:
    weight, shift = network(), network()
    with torch.no_grad():
        weight.layer.weight[1, 2] = torch.nextafter(weight.layer.weight[1, 2], torch.tensor(9.0))
        shift.shift[0] = 1e-9
    others = [network(), network(3.0), weight, shift, network().train()]
    files = [file_of(one, tmp_path) for one in others]
    files += [file_of(network(), tmp_path, width=4), file_of(network(), tmp_path, input_names=["image"])]
    assert files == [str(number) for number in range(1, len(files) + 1)]


def test_what_cannot_be_compared_is_exported_each_time(exported: list[str], tmp_path: Path) -> None:
    class Local(nn.Module):
        pass

    named = network()
    named.function = lambda: 3  # type: ignore[assignment]
    for one in (Local(), named):
        assert file_of(one, tmp_path) != file_of(one, tmp_path)
    assert len(exported) == 4
