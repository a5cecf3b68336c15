"""Training from outside on a downloaded dataset, one of whose images is damaged."""

from pathlib import Path

import pytest
import torch

from handviz.__main__ import main
from tests.fake_datasets import freihand, rhd, stb
from tests.fake_datasets.stand_in_mano import write_stand_in_mano
from tests.training.test_train_processes import losses, start, weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FreiHAND's eight green screens, the third cut off, and files like MANO's."""
    folder = tmp_path_factory.mktemp("downloads")
    freihand.write("freihand", folder / "freihand", 8)
    write_stand_in_mano(folder / "mano")
    image = folder / "freihand" / "training" / "rgb" / "00000002.jpg"
    image.write_bytes(image.read_bytes()[:2000])
    return folder


def arguments(folder: Path, run: str, *options: str) -> list[str]:
    """Two steps with a row of the log each."""
    model = ["--model", "prior", "--features", "global", "--width", "16", "--hand-model"]
    data = ["--data", f"freihand/training_gs:{folder / 'freihand'}", "--end-to-end", "--run", str(folder / run)]
    rest = ["--epochs", "1", "--checkpoint-every", "1", "--device", "cpu", *options]
    return ["handviz", "train", *data, *model, str(folder / "mano" / "MANO_RIGHT.pkl"), *rest]


def test_two_processes_are_one_with_twice_the_batch_and_leave_the_same_image_out(folder: Path) -> None:
    skip = ("--bad-images", "skip", "--head-rate", "0.05")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    runs = [
        start(["-m", *arguments(folder, "one", "--batch-size", "4", *skip)]),
        start([*torchrun, *arguments(folder, "two", "--batch-size", "2", *skip)]),
    ]
    for run in runs:
        output = run.communicate()[1]
        assert run.returncode == 0, output
        assert output.count("00000002.jpg is cut off") == 1
    assert len(losses(folder / "one")) == 2
    assert losses(folder / "two") == pytest.approx(losses(folder / "one"), abs=1e-3)
    mine, other = weights(folder / "one"), weights(folder / "two")
    assert max(float((mine[name] - other[name]).abs().max()) for name in mine) < 1e-3
    assert all(torch.isfinite(value).all() for value in mine.values())


def test_a_damaged_image_stops_with_its_name_and_the_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, "stopped", "--batch-size", "8")[1:]) == 1
    output = capsys.readouterr().err
    assert "00000002.jpg is cut off" in output
    assert "--bad-images skip leaves such images out" in output


def test_joints_alone_train_weakly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """RHD's right and left hands beside STB's left ones; full supervision names what they lack."""
    rhd.write("rhd", tmp_path / "rhd", 2)
    stb.write("stb", tmp_path / "stb", 2)
    data = ["--data", f"rhd:{tmp_path / 'rhd'}", f"stb/train_stereo:{tmp_path / 'stb'}", "--end-to-end"]
    chosen = ["--model", "prior", "--features", "global", "--width", "16", "--epochs", "1", "--batch-size", "3"]
    command = ["train", *data, *chosen, "--device", "cpu", "--run"]
    assert main([*command, str(tmp_path / "full")]) == 1
    assert "--supervision weak" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "weak"), "--supervision", "weak"]) == 0
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "weak").values())


def test_joints_alone_train_hamr_beside_meshes(tmp_path: Path, rendered_hands: Path) -> None:
    """RHD's and STB's hands beside rendered ones, whose meshes are known; RHD validates too."""
    rhd.write("rhd", tmp_path / "rhd", 4)
    stb.write("stb", tmp_path / "stb", 4)
    sources = [f"rhd:{tmp_path / 'rhd'}", f"stb/train_stereo:{tmp_path / 'stb'}", str(rendered_hands)]
    command = ["train", "--family", "hamr", "--data", *sources, "--validation", sources[0], "--epochs", "1"]
    assert main([*command, "--batch-size", "8", "--run", str(tmp_path / "run")]) == 0
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    errors = dict(zip(log[0].split(","), log[-1].split(","), strict=True))
    assert 0 < float(errors["pa_mpjpe_mm"]) < 200
