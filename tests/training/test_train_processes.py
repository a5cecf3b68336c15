"""Training from outside: several processes are one, a killed run goes on, a stopped one says where."""

import csv
import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from handviz.core.errors import ErrorCode
from handviz.core.files import not_writable
from handviz.core.paths import PROJECT_ROOT
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.training import train
from handviz.models.amvur.training_config import TrainConfig
from handviz.training import trainer as trainer_module
from handviz.training.cache import cache_name, middle_file
from handviz.training.distributed import chosen_device
from handviz.training.trainer import Trainer
from tests.errors import raises
from tests.fake_datasets.freihand import write
from tests.fake_datasets.stand_in_mano import write_stand_in_mano
from tests.small_trainings import amvur_run

pytestmark = pytest.mark.slow

SMALL = ModelConfig(variant="prior", width=16, regressor_width=16, features="global")


@pytest.fixture
def config(tmp_path, cached_hands):
    """Four steps, a checkpoint after each."""
    return TrainConfig(
        data=(cached_hands,), run=tmp_path / "run", model=SMALL, epochs=2, batch_size=4, limit=8, checkpoint_every=1
    )


def command(data, run, *options):
    """Return the arguments behind ``python``."""
    chosen = ["--data", str(data), "--run", str(run), "--model", "prior", "--features", "global", "--device", "cpu"]
    return ["-m", "handviz", "train", *chosen, "--checkpoint-every", "1", *options]


def start(arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=PROJECT_ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )


def weights(run):
    return load_file(run / "last" / "model.safetensors")


def losses(run):
    with (run / "log.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_processes_are_one_with_twice_the_batch(tmp_path, cached_hands, template):
    options = ("--epochs", "1", "--limit", "16", "--head-rate", "0.05", "--width", "16")
    runs = [start([*command(cached_hands, tmp_path / "one", *options), "--batch-size", "4"])]
    # "--": torchrun would take our --run for one of its own options.
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    behind = command(cached_hands, tmp_path / "two", *options)[1:]
    runs.append(start([*torchrun, *behind, "--batch-size", "2"]))
    for run in runs:
        output = run.communicate()[1]
        assert run.returncode == 0, output
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 4
    assert two == pytest.approx(one, abs=1e-3)
    mine, other = weights(tmp_path / "one"), weights(tmp_path / "two")
    torch.manual_seed(0)
    start_weights = build_model(replace(SMALL, regressor_width=512), template).state_dict()
    moved = torch.cat([(mine[name] - start_weights[name]).flatten().abs() for name in mine])
    difference = torch.cat([(mine[name] - other[name]).flatten().abs() for name in mine])
    assert difference.max() < 1e-3
    assert difference.mean() < 0.02 * moved.mean()


def test_two_processes_read_a_dataset_as_one_does(tmp_path):
    """A dataset spec in place of cached hands; every process reads and crops the images itself."""
    write("freihand", tmp_path / "freihand", 4)
    hand_model, _ = write_stand_in_mano(tmp_path / "mano")
    chosen = ["--data", f"freihand:{tmp_path / 'freihand'}", "--hand-model", str(hand_model), "--end-to-end"]
    chosen += ["--model", "prior", "--features", "global", "--width", "16", "--device", "cpu", "--limit", "4"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "handviz", "train"]
    one = ["-m", "handviz", "train", *chosen, "--epochs", "1", "--batch-size", "2", "--run", str(tmp_path / "one")]
    two = [*torchrun, *chosen, "--epochs", "1", "--batch-size", "1", "--run", str(tmp_path / "two")]
    for run in [start(one), start(two)]:
        output = run.communicate()[1]
        assert run.returncode == 0, output
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_resumes_to_the_straight_run_s_weights(tmp_path, cached_hands):
    """Killed at its first checkpoint, however far it has got by then with the next one."""
    options = ("--epochs", "2", "--limit", "16", "--batch-size", "2")
    killed = start(command(cached_hands, tmp_path / "killed", *options))
    output = ""
    while "loss" not in output:
        piece = killed.stderr.read(1)
        assert piece, output
        output += piece
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert len(losses(tmp_path / "killed")) < 16
    both = [start(command(cached_hands, tmp_path / name, *options)) for name in ("killed", "straight")]
    outputs = [run.communicate()[1] for run in both]
    assert [run.returncode for run in both] == [0, 0], outputs
    assert "resuming at step" in outputs[0]
    assert losses(tmp_path / "killed") == losses(tmp_path / "straight")
    resumed, straight = weights(tmp_path / "killed"), weights(tmp_path / "straight")
    assert all(torch.equal(value, straight[name]) for name, value in resumed.items())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_saves_and_names_the_step(config, template, monkeypatch, number):
    straight = replace(config, run=config.run / "straight")
    train(straight, template)
    before, step = signal.getsignal(number), Trainer.train_step

    def signalled(trainer, ids):
        terms = step(trainer, ids)
        if trainer.step == 2:
            signal.raise_signal(number)
        return terms

    rarely = replace(config, checkpoint_every=100)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", signalled)
        with raises(ErrorCode.CANCELLED, match="step 2"):
            train(rarely, template)
    assert signal.getsignal(number) is before
    train(rarely, template)
    stopped, whole = weights(config.run), weights(straight.run)
    assert all(torch.equal(value, whole[name]) for name, value in stopped.items())


def no_room(files):
    """Fail as ``write_files`` does on a full disk."""
    raise not_writable(*files, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
@pytest.mark.parametrize("full", ["log", "checkpoint"])
def test_a_full_disk_is_said_and_the_checkpoint_stays(config, template, full):
    """There is no room for the log, and 100,000 bytes for the checkpoint."""
    import resource

    train(replace(config, epochs=1), template)
    last = {path: path.read_bytes() for path in (config.run / "last").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        if full == "log":
            patch.setattr(trainer_module, "write_files", no_room)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with raises(
                ErrorCode.DISK_FULL, ErrorCode.NOT_WRITABLE, match=rf"{full}.*the last (checkpoint|one) is intact"
            ):
                train(config, template)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in last} == last
    assert not list(config.run.glob("*.part"))
    train(config, template)
    assert len(losses(config.run)) == 4


def test_rows_that_no_checkpoint_holds_leave_the_log(config, template):
    train(replace(config, epochs=1), template)
    log = config.run / "log.csv"
    rows = log.read_text(encoding="utf-8").splitlines()
    log.write_text("\n".join([*rows, rows[-1].replace("2,", "3,", 1)]) + "\n", encoding="utf-8")
    train(config, template)
    with log.open(encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]


def test_a_resumed_run_keeps_its_batch(config, template):
    train(replace(config, epochs=1), template)
    with raises(ErrorCode.FOLDER_TAKEN, match="batches of 4"):
        train(replace(config, batch_size=2), template)


def test_a_folder_that_cannot_be_made_and_a_card_that_is_not_there_are_said(config, template, tmp_path):
    (tmp_path / "file").write_text("")
    with raises(ErrorCode.NOT_WRITABLE):
        train(replace(config, run=tmp_path / "file" / "run"), template)
    with raises(ErrorCode.UNKNOWN_NAME, match="auto, cpu, cuda"):
        chosen_device("tpu", 0)
    if not torch.cuda.is_available():
        assert chosen_device("auto", 0) == torch.device("cpu")
        with raises(ErrorCode.BAD_VALUE):
            chosen_device("cuda", 0)


# Other first blocks, other caches.


def end_to_end(config, **changes):
    return replace(config, end_to_end=True, **changes)


def test_end_to_end_trains_the_first_blocks_too_and_not_the_landmark_head(config, template):
    model = replace(SMALL, features="joints", feature_width=16, feature_layers=1, landmark_stem=True)
    trainer = amvur_run(end_to_end(config, model=model, validation=config.data[0], epochs=3, limit=4), template)
    assert [group["rate"] for group in trainer.optimiser.param_groups] == [1e-3, 3e-4, 3e-5]
    before = {name: value.clone() for name, value in trainer.task.network.state_dict().items()}
    values = [sum(trainer.train_step(ids).values()) for ids in trainer.batches()]
    assert values[-1] < values[0]
    still = {name for name, value in trainer.task.network.state_dict().items() if torch.equal(value, before[name])}
    assert {name for name in still if not name.startswith("landmark_head.")} == set()
    assert {name for name in before if name.startswith("landmark_head.")} <= still


@torch.no_grad()
def test_images_and_what_is_cached_of_them_give_the_same(config, template):
    """Before the first step: maps are cached as float16."""
    images, cached = amvur_run(end_to_end(config), template), amvur_run(config, template)
    ids = torch.arange(4)
    outputs = [trainer.task.parallel(trainer.task.samples.batch(ids)[0]).mean_cm for trainer in (images, cached)]
    torch.testing.assert_close(*outputs, rtol=0, atol=0.01)
    truths = [trainer.task.samples.batch(ids)[1].vertices_cm for trainer in (images, cached)]
    assert torch.equal(*truths)


def test_maps_of_another_stem_are_cached_apart(config, template):
    end = end_to_end(config, run=config.run / "end", epochs=1, stem_rate=0.1)
    folder = train(end, template)
    started = amvur_run(replace(config, start_from=(folder,)), template)
    plain = amvur_run(config, template)
    assert not torch.equal(
        started.task.samples.batch(torch.arange(2))[0][0], plain.task.samples.batch(torch.arange(2))[0][0]
    )
    names = [cache_name(trainer.task.network.backbone, "mediapipe_hand") for trainer in (started, plain)]
    assert names[1] == "mediapipe_hand"
    assert names[0] != names[1]
    assert all(middle_file(config.data[0], 0, name).is_file() for name in names)
    joints = replace(SMALL, features="joints", feature_width=16, feature_layers=1)
    with raises(ErrorCode.OPTION_CONFLICT, match="--end-to-end"):
        amvur_run(replace(config, model=joints, start_from=(folder,)), template)


@pytest.mark.parametrize("wrong", [{"tail_rate": 0.0}, {"stem_rate": 0.0}, {"model": ModelConfig()}])
def test_an_end_to_end_that_is_none_is_said(config, wrong):
    with raises(ErrorCode.OPTION_CONFLICT, match="end to end"):
        end_to_end(config, **wrong)
