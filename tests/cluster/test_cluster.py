"""Runs over folders of any size, without Ray: order, shards, going on after every kind of end, refusals, joining."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handviz.cluster import listing, run_record, runners
from handviz.cluster.listing import pictures_of_manifest, pictures_of_shard, pictures_under, write_listing
from handviz.cluster.run_record import Run
from handviz.cluster.runners import HereRunner, RayRunner
from handviz.cluster.shards import Journal, ShardReport, entries_of_shard, is_done, report_path, shard_path, write_shard
from handviz.cluster.verification import differing
from handviz.cluster.whole_run import do, join, prepared, shards_to_do, write_summary
from handviz.cluster.worker import MakerFactory, Worker
from handviz.core.errors import HandvizError
from handviz.core.paths import PROJECT_ROOT
from handviz.io.hands_json import write_report
from handviz.pipeline.image_request import PictureOrder
from tests.cluster_fakes import FailingEntries, MadeUpEntries
from tests.tiny_network import write_all_networks

PICTURES = ("a-b/2.jpg", "a-b/10.JPG", "a.png", "a/deep/er/1.png", "a/x.jpg", "b.webp", "z/1.jpg")


def folder_of(folder: Path, *pictures: str) -> Path:
    for picture in pictures:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        (folder / picture).write_bytes(b"a picture")
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("models"))


@pytest.fixture
def new_run(tmp_path: Path, models: Path) -> Callable[..., Run]:
    """A run over made-up pictures in shards of two."""
    MadeUpEntries.asked.clear()

    def make(*pictures: str) -> Run:
        source = folder_of(tmp_path / "pictures", *(pictures or PICTURES))
        return Run(source, tmp_path / "out", PictureOrder(models), shard_size=2)

    return make


def done(run: Run, make: MakerFactory = MadeUpEntries) -> list[ShardReport]:
    """Do what is not done; returns what is told of it."""
    told: list[ShardReport] = []
    listed = prepared(run)
    do(run, shards_to_do(run.out, range(listed.shards)), HereRunner(make), told.append)
    return told


def joined(run: Run) -> list[dict[str, Any]]:
    join(run, prepared(run), run.out / "hands.json")
    entries: list[dict[str, Any]] = json.loads((run.out / "hands.json").read_text())
    return entries


def test_pictures_come_in_the_order_of_their_characters(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder_of(tmp_path, *PICTURES, ".hidden.jpg", ".git/1.jpg", "notes.txt", "out/overlays/1.png")
    (tmp_path / "z" / "round").symlink_to(tmp_path, target_is_directory=True)
    found = list(pictures_under(tmp_path, leave_out=out, remarks=[]))
    assert found == sorted(PICTURES)


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, *PICTURES)
    scandir = os.scandir

    def forbidden(path: Path) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", forbidden)
    remarks: list[str] = []
    assert len(list(pictures_under(tmp_path, leave_out=tmp_path / "out", remarks=remarks))) == len(PICTURES) - 1
    assert "deep" in remarks[0]
    assert "Permission denied" in remarks[0]


def test_every_name_finds_its_way_into_its_shard(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(5)] + ["line\nbreak.jpg", "ä€.jpg", os.fsdecode(b"\xff.jpg")]
    listed = write_listing(tmp_path, iter(names), 3, [])
    assert (listed.pictures, listed.shards) == (8, 3)
    shards = [pictures_of_shard(tmp_path, number) for number in range(3)]
    assert shards == [names[:3], names[3:6], names[6:]]


def test_a_text_file_lists_pictures_in_its_own_order(new_run: Callable[..., Run], tmp_path: Path) -> None:
    manifest = tmp_path / "pictures" / "list.txt"
    run = dataclasses.replace(new_run(), source=manifest)
    manifest.write_bytes(b"z/1.jpg\r\n\na.png\na.png\nwith space.jpg")
    assert list(pictures_of_manifest(manifest)) == ["z/1.jpg", "a.png", "a.png", "with space.jpg"]
    done(run)
    assert [entry["file"] for entry in joined(run)] == ["z/1.jpg", "a.png", "a.png", "with space.jpg"]


@pytest.mark.parametrize("damage", ["shards.txt", "listing.jsonl"])
def test_a_damaged_listing_gets_a_sentence(new_run: Callable[..., Run], damage: str) -> None:
    run = new_run()
    prepared(run)
    (run.out / damage).write_bytes(b"nonsense")
    with pytest.raises(HandvizError, match=r"listing in .* is damaged"):
        done(run)


def test_the_joined_list_is_what_one_process_writes(new_run: Callable[..., Run], tmp_path: Path) -> None:
    run = new_run(*PICTURES, "broken.jpg", "raises.jpg")
    reports = done(run)
    assert [report.pictures for report in reports] == [2, 2, 2, 2, 1]
    entries = joined(run)
    assert [entry["file"] for entry in entries] == sorted((*PICTURES, "broken.jpg", "raises.jpg"))
    write_report(tmp_path / "one.json", entries)
    assert (run.out / "hands.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    errors = {entry["file"]: entry["error"] for entry in entries if "error" in entry}
    assert set(errors) == {"broken.jpg", "raises.jpg"}
    assert "this picture is special" in errors["raises.jpg"]


def test_the_summary_counts_and_names(new_run: Callable[..., Run]) -> None:
    run = new_run(*PICTURES, "broken.jpg")
    listed = prepared(run)
    do(run, [0, 2], HereRunner(MadeUpEntries), lambda _: None)
    assert write_summary(run, listed).pictures == 4
    assert json.loads((run.out / "manifest.json").read_text())["complete"] is False
    with pytest.raises(HandvizError, match="2 of 4 shards are not done"):
        join(run, listed, run.out / "hands.json")
    done(run)
    totals = write_summary(run, listed)
    assert (totals.shards, totals.pictures, totals.hands, totals.unreadable) == (4, 8, 7, 1)
    manifest = json.loads((run.out / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert set(manifest["sha256"]) == {"hand_landmarker.task", "handviz_final.onnx"}
    index = [json.loads(line) for line in (run.out / "index.jsonl").read_text().splitlines()]
    assert [entry["number"] for entry in index] == [0, 1, 2, 3]
    (unreadable,) = map(json.loads, (run.out / "unreadable.jsonl").read_text().splitlines())
    assert unreadable["file"] == "broken.jpg"


def test_shards_that_are_done_are_not_done_again(new_run: Callable[..., Run]) -> None:
    run = new_run()
    prepared(run)
    do(run, [1], HereRunner(MadeUpEntries), lambda _: None)
    before = shard_path(run.out, 1).stat().st_mtime_ns
    MadeUpEntries.asked.clear()
    done(run)
    assert shard_path(run.out, 1).stat().st_mtime_ns == before
    assert MadeUpEntries.asked == [file for number in (0, 2, 3) for file in pictures_of_shard(run.out, number)]
    assert done(run) == []
    report_path(run.out, 2).unlink()
    assert [report.number for report in done(run)] == [2]


def test_a_killed_process_leaves_all_finished_pictures(new_run: Callable[..., Run]) -> None:
    """The process really ends, in the middle of a shard; the next one begins at the picture that was not finished."""
    run = dataclasses.replace(new_run("1.jpg", "2.jpg", "3.jpg", "4_ends.jpg", "5.jpg"), shard_size=5)
    prepared(run)
    script = (
        "import pickle, sys\nfrom handviz.cluster.worker import Worker\nfrom tests.cluster_fakes import MadeUpEntries\n"
        "Worker(pickle.load(sys.stdin.buffer), MadeUpEntries).do(0)"
    )
    outcome = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, input=pickle.dumps(run), check=False)
    assert outcome.returncode == 3
    assert not is_done(run.out, 0)
    (run.root / "4_ends.jpg").rename(run.root / "4_raises.jpg")  # the same place in the listing
    (run.out / "listing.jsonl").write_text((run.out / "listing.jsonl").read_text().replace("_ends", "_raises"))
    (report,) = done(run)
    assert MadeUpEntries.asked == ["4_raises.jpg", "5.jpg"]
    assert (report.pictures, report.worked_on, len(report.unreadable)) == (5, 2, 1)
    assert list(shard_path(run.out, 0).parent.glob("*.journal")) == []


def test_half_a_line_of_a_killed_process_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    journal.add({"file": "1.jpg"})
    journal.add({"file": "2.jpg"})
    journal.close()
    path = shard_path(tmp_path, 0).with_suffix(".journal")
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(tmp_path, 0)
    assert journal.entries == [{"file": "1.jpg"}]
    journal.add({"file": "2.jpg"})
    journal.close()
    journal = Journal(tmp_path, 0)
    assert [entry["file"] for entry in journal.entries] == ["1.jpg", "2.jpg"]
    journal.close()


def test_a_process_that_was_thought_dead_does_no_harm(tmp_path: Path) -> None:
    lingering = Journal(tmp_path, 0)
    lingering.add({"file": "1.jpg"})
    journal = Journal(tmp_path, 0)
    for name in ("2.jpg", "3.jpg"):
        journal.add({"file": name})
        lingering.add({"file": name})
    journal.close()
    lingering.close()
    journal = Journal(tmp_path, 0)
    assert [entry["file"] for entry in journal.entries] == ["1.jpg", "2.jpg", "3.jpg"]
    journal.close()


def test_a_picture_that_ends_three_processes_is_passed(new_run: Callable[..., Run]) -> None:
    run = new_run("1.jpg", "2_stops.jpg", "3.jpg")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            done(run)
    done(run)
    entries = joined(run)
    assert ["error" in entry for entry in entries] == [False, True, False]
    assert "3 processes ended at this picture" in entries[1]["error"]
    assert MadeUpEntries.asked.count("1.jpg") == 1
    assert MadeUpEntries.asked.count("2_stops.jpg") == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"order": PictureOrder(variant="amvur")}, "options: variant is final there and amvur here"),
        ({"order": PictureOrder(max_hands=2)}, "options: max_hands is 10 there and 2 here"),
        ({"shard_size": 3}, "shard_size is 2 there and 3 here"),
        ({"threads": 2}, "threads is 1 there and 2 here"),
        ({"only_read": True}, "only_read is False there and True here"),
    ],
)
def test_other_options_are_refused(
    new_run: Callable[..., Run], models: Path, change: dict[str, Any], told: str
) -> None:
    run = new_run()
    prepared(run)
    if "order" in change:
        change = {"order": dataclasses.replace(change["order"], model_dir=models)}
    with pytest.raises(HandvizError, match=told):
        prepared(dataclasses.replace(run, **change))


def test_other_networks_and_other_programs_are_refused(
    new_run: Callable[..., Run], tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    prepared(run)
    moved = tmp_path / "moved"
    moved.mkdir()
    content = (models / "handviz_final.onnx").read_bytes()
    (moved / "handviz_final.onnx").write_bytes(content)
    same = dataclasses.replace(run, order=dataclasses.replace(run.order, model_dir=moved))
    assert prepared(same).pictures == len(PICTURES)
    (moved / "handviz_final.onnx").write_bytes(content + b"\0")
    with pytest.raises(HandvizError, match=r"sha256: handviz_final\.onnx is"):
        Worker(same, MadeUpEntries)
    monkeypatch.setattr(run_record, "__version__", "9.9")
    with pytest.raises(HandvizError, match=r"handviz is .* there and 9\.9 here"):
        prepared(run)


def test_a_worker_without_the_folder_gets_a_sentence(new_run: Callable[..., Run]) -> None:
    with pytest.raises(HandvizError, match="all machines need the same folders"):
        Worker(new_run(), MadeUpEntries)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"pictures": "many"}'])
def test_a_damaged_record_gets_a_sentence(new_run: Callable[..., Run], content: bytes) -> None:
    run = new_run()
    prepared(run)
    (run.out / "run.json").write_bytes(content)
    with pytest.raises(HandvizError, match=r"run\.json is damaged"):
        prepared(run)


def test_nothing_to_do_gets_a_sentence(new_run: Callable[..., Run], tmp_path: Path) -> None:
    run = dataclasses.replace(new_run("notes.txt"), source=tmp_path / "pictures")
    with pytest.raises(HandvizError, match="no pictures"):
        prepared(run)
    with pytest.raises(HandvizError, match=r"handviz_final\.onnx cannot be read"):
        prepared(dataclasses.replace(run, order=PictureOrder(tmp_path / "nowhere")))


def test_a_shard_that_was_changed_is_not_joined(new_run: Callable[..., Run]) -> None:
    run = new_run()
    done(run)
    path = shard_path(run.out, 1)
    path.write_bytes(path.read_bytes().replace(b"0.", b"1."))
    with pytest.raises(HandvizError, match="is not what its run wrote"):
        list(entries_of_shard(run.out, 1))


def test_some_pictures_are_done_again_and_compared(new_run: Callable[..., Run]) -> None:
    run = new_run()
    done(run)
    listed = prepared(run)
    assert differing(run, listed, 5, MadeUpEntries) == []
    for number in range(listed.shards):
        entries = [{**entry, "hands": []} for entry in entries_of_shard(run.out, number)]
        write_shard(run.out, ShardReport(number, len(entries)), entries)
    assert len(differing(run, listed, 5, MadeUpEntries)) == 5


def test_without_ray_the_command_that_installs_it_is_told(
    new_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(HandvizError, match=r"pip install -r requirements-cluster\.txt"):
        list(RayRunner().reports(new_run(), [0]))


def test_an_actor_tells_its_trouble_instead_of_raising(new_run: Callable[..., Run]) -> None:
    """Ray begins an actor that raises anew for ever."""
    run = new_run()
    prepared(run)
    answer = runners.Actor(run, FailingEntries)({"shard": [0, 1]})
    assert all("the network is truncated" in trouble for trouble in answer["trouble"])
    (run.out / "shards").write_text("a file where a folder should be")
    answer = runners.Actor(run, MadeUpEntries)({"shard": [0]})
    assert answer["trouble"] == [""]
    assert "cannot be used" in json.loads(answer["report"][0])["trouble"]


def test_a_cluster_of_one_machine_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "before")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with runners.environment(runners.on_this_machine()):
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(PROJECT_ROOT), "before"]
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["PYTHONPATH"] == "before"
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_handing_out_shards_needs_neither_torch_nor_ray() -> None:
    script = "import sys, handviz.cli.cluster; sys.exit(str({'torch', 'ray'} & set(sys.modules) or ''))"
    command = [sys.executable, "-c", script]
    outcome = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert outcome.stderr.strip() == ""


def test_many_pictures_need_no_more_memory_than_few(tmp_path: Path) -> None:
    def peak_bytes(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        tracemalloc.start()
        write_listing(folder, (f"{number % 1000:04d}/{number:09d}.jpg" for number in range(count)), 100, [])
        assert pictures_of_shard(folder, count // 100 - 1)[-1].endswith(f"{count - 1:09d}.jpg")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(50_000) < 1.2 * peak_bytes(1_000)
