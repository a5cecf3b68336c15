"""The real thing: two workers of Ray on this machine, with the shipped networks. Ray is started once."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from handviz.__main__ import main
from handviz.cluster import ray_run
from handviz.cluster.ray_run import RayOptions, run_on_ray
from handviz.cluster.shards import Shard, ShardedRun, ShardResult, complete_shards, header_of, join
from handviz.core import onnx_runtime
from handviz.core.paths import PROJECT_ROOT
from handviz.pipeline.image_request import ImageRequest
from tests.cluster_fakes import KILLS_ONCE, KilledOnce
from tests.fake_datasets.hands import tiny_hands


@pytest.mark.parametrize("token", [None, "mine"])
def test_a_cluster_of_one_machine_leaves_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    monkeypatch.setenv("PYTHONPATH", "before")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with ray_run._environment(RayOptions()):
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(PROJECT_ROOT), "before"]
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_AUTH_TOKEN"] == token if token else len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["PYTHONPATH"] == "before"
    assert os.environ.get("RAY_AUTH_TOKEN") == token


class LostError(Exception):
    """A stand-in for Ray's ``RayError``: a test that imports Ray itself would do so before its settings are made."""


def test_a_task_that_was_lost_too_often_is_a_failed_shard() -> None:
    def get(_: object) -> None:
        raise LostError("The worker died.\nIt ran out of memory.\n")

    ray = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayError=LostError))
    result = ray_run._result(ray, None, Shard(3, 4))
    assert result == ShardResult(Shard(3, 4), failure="its task did not end: It ran out of memory.")


@pytest.mark.slow
# Ray warns of its own settings.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_two_workers_write_what_one_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte; though one of them dies in the middle of its shard, and one image is broken."""
    monkeypatch.setattr(onnx_runtime, "_thread_limit", None)
    images = tmp_path / "images"
    images.mkdir()
    for number, hand in enumerate(tiny_hands(3, seed=3, size=(320, 240), sides=("right", "left"))):
        Image.fromarray(hand.image).save(images / f"{number}{'_' + KILLS_ONCE if number == 1 else ''}.png")
    (images / "broken.jpg").write_bytes(b"broken")

    run = ShardedRun(images, tmp_path / "out", ImageRequest(), recursive=True, threads=1)
    header, todo = header_of(run), [Shard(number, 2) for number in (1, 2)]
    results = list(run_on_ray(run, todo, header, RayOptions(workers=2), KilledOnce))
    assert sorted(result.shard for result in results) == todo
    assert [result.failure for result in results] == ["", ""]
    asked = (run.out / "asked").read_text().split()
    assert sorted(asked) == ["0.png", "1_kill_once.png", "1_kill_once.png", "2.png", "broken.jpg"]
    complete = complete_shards(run, 2, header)
    assert [(result.images, result.unreadable) for result in complete] == [(2, 0), (2, 1)]
    assert sum(result.hands for result in complete) > 0

    joined = join(run, 2, complete).read_bytes()
    options = ["--mesh", "none", "--no-overlays", "--threads", "1"]
    assert main(["reconstruct", str(images), "--out", str(tmp_path / "one"), *options]) == 0
    assert joined == (tmp_path / "one" / "hands.json").read_bytes()
    assert len(json.loads(joined)) == 4
