"""The real thing: two workers of Ray Data on this machine, with the shipped networks. Ray is started once."""

import json
from pathlib import Path

import pytest
from PIL import Image

from handviz.__main__ import main
from handviz.cluster.run_record import Run
from handviz.cluster.runners import RayRunner
from handviz.cluster.shards import ShardReport
from handviz.cluster.whole_run import do, join, prepared, shards_to_do, write_summary
from handviz.models import onnx_session
from handviz.pipeline.image_request import PictureOrder
from tests.cluster_fakes import ENDS_ONCE, EndingOnce
from tests.fake_datasets.hands import tiny_hands


# Ray warns of its own settings.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_two_workers_say_what_one_process_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte; though one of them dies in the middle of its shard, and one picture is broken."""
    monkeypatch.setattr(onnx_session, "_thread_limit", None)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, hand in enumerate(tiny_hands(3, seed=3, size=(320, 240), sides=("right", "left"))):
        Image.fromarray(hand.picture).save(pictures / f"{number}{'_' + ENDS_ONCE if number == 1 else ''}.png")
    (pictures / "broken.jpg").write_bytes(b"broken")

    run = Run(pictures, tmp_path / "out", PictureOrder(), shard_size=2)
    listed = prepared(run)
    told: list[ShardReport] = []
    do(run, shards_to_do(run.out, range(listed.shards)), RayRunner(2, make=EndingOnce), told.append)
    assert sorted(report.number for report in told) == [0, 1]
    assert {report.number: report.worked_on for report in told}[0] == 1, "the first picture was kept"
    totals = write_summary(run, listed)
    assert (totals.pictures, totals.unreadable) == (4, 1)
    assert totals.hands > 0

    join(run, listed, run.out / "hands.json")
    options = ["--mesh", "none", "--no-overlays", "--threads", "1"]
    assert main(["reconstruct", str(pictures), "--out", str(tmp_path / "one"), *options]) == 0
    assert (run.out / "hands.json").read_bytes() == (tmp_path / "one" / "hands.json").read_bytes()
    assert len(json.loads((run.out / "hands.json").read_text())) == 4
