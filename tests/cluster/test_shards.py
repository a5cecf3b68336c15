"""Shards without Ray: order, the same bytes as one process, resuming after every kind of end, refusals, joining."""

import dataclasses
import gc
import json
import os
import pickle
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handviz.cluster import shards as shards_module
from handviz.cluster.shards import (
    Shard,
    ShardedRun,
    ShardResult,
    attempt_shard,
    complete_shards,
    differing,
    entries_of,
    header_of,
    join,
    run_shard,
)
from handviz.core.errors import ErrorCode
from handviz.core.paths import PROJECT_ROOT
from handviz.io.hands_json import write_report
from handviz.pipeline import image_request
from handviz.pipeline.image_request import ImageRequest, listed_images
from tests.cluster_fakes import MadeUpEntries
from tests.errors import raises
from tests.tiny_network import write_all_networks

IMAGES = ("a-b/2.jpg", "a-b/10.JPG", "a.png", "a/deep/er/1.png", "a/x.jpg", "b.webp", "z/1.jpg")


def folder_of(folder: Path, *images: str) -> Path:
    for image in images:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes(b"an image")
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("models"))


@pytest.fixture
def new_run(tmp_path: Path, models: Path) -> Callable[..., ShardedRun]:
    """Return a maker of runs over made-up images."""
    MadeUpEntries.asked.clear()

    def make(*images: str) -> ShardedRun:
        source = folder_of(tmp_path / "images", *(images or IMAGES))
        return ShardedRun(source, tmp_path / "out", ImageRequest(models), recursive=True)

    return make


def do(run: ShardedRun, *numbers: int, of: int = 4, resume: bool = True) -> list[ShardResult]:
    """Do these shards, or all."""
    header = header_of(run)
    every = numbers or tuple(range(1, of + 1))
    return [run_shard(run, Shard(n, of), header, resume=resume, make=MadeUpEntries) for n in every]


def complete(run: ShardedRun, of: int = 4) -> list[ShardResult]:
    return complete_shards(run, of, header_of(run))


def joined(run: ShardedRun, of: int = 4) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(join(run, of, complete(run, of)).read_text())
    return entries


def names(source: Path, out: Path, *, recursive: bool = True) -> list[str]:
    return [image.file for image in listed_images(source, recursive=recursive, leave_out=out)]


def killed(run: ShardedRun, shard: Shard) -> None:
    """Do a shard in a process that an image kills."""
    script = (
        "import pickle, sys\nfrom handviz.cluster.shards import header_of, run_shard\n"
        "from tests.cluster_fakes import MadeUpEntries\nrun, shard = pickle.load(sys.stdin.buffer)\n"
        "run_shard(run, shard, header_of(run), make=MadeUpEntries)"
    )
    command = [sys.executable, "-c", script]
    outcome = subprocess.run(command, cwd=PROJECT_ROOT, input=pickle.dumps((run, shard)), check=False)
    assert outcome.returncode == 3


def test_images_come_in_the_order_of_their_characters(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder_of(tmp_path, *IMAGES, ".hidden.jpg", ".git/1.jpg", "notes.txt", "out/overlays/1.png")
    (tmp_path / "z" / "round").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path, out) == sorted(IMAGES)
    assert names(tmp_path, out, recursive=False) == ["a.png", "b.webp"]


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder_of(tmp_path, *IMAGES)
    scandir = os.scandir

    def forbidden(path: Path) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(image_request.os, "scandir", forbidden)
    assert len(names(tmp_path, tmp_path / "out")) == len(IMAGES) - 1
    names(tmp_path, tmp_path / "out")
    assert caplog.text.count("Permission denied") == 1
    assert "deep" in caplog.text


def test_a_text_file_lists_images_in_its_own_order(new_run: Callable[..., ShardedRun], tmp_path: Path) -> None:
    source = tmp_path / "images" / "list.txt"
    run = dataclasses.replace(new_run(), source=source)
    source.write_bytes(b"z/1.jpg\r\n\na.png\na.png\nwith space.jpg\n\xff.jpg")
    expected = ["z/1.jpg", "a.png", "a.png", "with space.jpg", os.fsdecode(b"\xff.jpg")]
    assert names(source, run.out) == expected
    do(run)
    assert [entry["file"] for entry in joined(run)] == expected
    stems = [entry["hands"][0]["mesh"] for entry in joined(run)]
    assert len(set(stems)) == 5, "an image that is listed twice overwrites nothing"


@pytest.mark.parametrize("of", [1, 2, 3, 9, 20])
def test_the_joined_list_is_what_one_process_writes(
    new_run: Callable[..., ShardedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: int
) -> None:
    monkeypatch.setattr(shards_module, "ENTRIES_AT_ONCE", 3)
    run = new_run(*IMAGES, "broken.jpg", "raises.jpg", "nan.jpg")
    results = do(run, of=of)
    assert sum(result.images for result in results) == 10
    assert max(result.images for result in results) - min(result.images for result in results) <= 1
    entries = joined(run, of)
    assert [entry["file"] for entry in entries] == sorted((*IMAGES, "broken.jpg", "raises.jpg", "nan.jpg"))
    write_report(tmp_path / "one.json", entries)
    assert (run.out / "hands.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    errors = {entry["file"]: entry["error"] for entry in entries if "error" in entry}
    assert set(errors) == {"broken.jpg", "raises.jpg", "nan.jpg"}
    assert "this image is special" in errors["raises.jpg"]


def test_results_count_and_name(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run(*IMAGES, "broken.jpg")
    do(run, 1, 3)
    assert [result.shard.number for result in complete(run)] == [1, 3]
    with raises(ErrorCode.NO_RESULT, match="2 of 4 shards"):
        join(run, 4, complete(run))
    do(run)
    found = complete(run)
    assert [sum(getattr(result, name) for result in found) for name in ("images", "hands", "unreadable")] == [8, 7, 1]
    (error,) = [error for result in found for error in result.errors]
    assert "broken.jpg: not an image" in error


def test_complete_shards_are_done_again_only_without_resume(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run()
    do(run, 2)
    path = Shard(2, 4).path(run.out)
    before, asked = path.stat(), list(MadeUpEntries.asked)
    do(run)
    assert path.stat() == before
    assert sorted(MadeUpEntries.asked) == sorted(IMAGES)
    do(run, 2, resume=False)
    assert MadeUpEntries.asked[len(IMAGES) :] == asked
    assert len(joined(run)) == len(IMAGES)
    path.with_suffix(".json").unlink()
    assert len(complete(run)) == 3
    do(run)
    assert len(joined(run)) == len(IMAGES)


@pytest.mark.slow
def test_a_killed_process_leaves_all_finished_images_and_a_second_kill_skips_the_image(
    new_run: Callable[..., ShardedRun],
) -> None:
    """The processes really end, in the middle of a shard; the next one begins at the image that was not finished."""
    run = new_run("1.jpg", "2.jpg", "3.jpg", "4_kills.jpg", "5.jpg")
    shard = Shard(1, 1)
    killed(run, shard)
    assert len(shard.path(run.out).read_bytes().splitlines()) == 3
    assert complete(run, 1) == []
    killed(run, shard)
    (result,) = do(run, of=1)
    assert MadeUpEntries.asked == ["5.jpg"]
    assert (result.images, result.unreadable) == (5, 1)
    entries = joined(run, 1)
    assert "2 processes were killed at this image" in entries[3]["error"]
    assert differing(run, complete(run, 1), 20, MadeUpEntries) == [], "verifying does not let it kill again"
    assert {path.suffix for path in shard.path(run.out).parent.iterdir()} == {".json", ".jsonl"}


def test_an_interruption_is_no_kill(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run("1.jpg", "2_stops.jpg", "3.jpg")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            do(run, of=1)
    assert MadeUpEntries.asked == ["1.jpg"] + 3 * ["2_stops.jpg"]


@pytest.mark.parametrize("tail", [b'{"file": "2.j', b"\x00\x00\n", b"[]\n", b'{"file": "3.jpg"}\n'])
def test_a_torn_line_is_cut_and_its_image_done_again(new_run: Callable[..., ShardedRun], tail: bytes) -> None:
    run = new_run("1.jpg", "2_stops.jpg", "3.jpg")
    with pytest.raises(KeyboardInterrupt):
        do(run, of=1)
    with Shard(1, 1).path(run.out).open("ab") as file:
        file.write(tail)
    MadeUpEntries.asked.clear()
    with pytest.raises(KeyboardInterrupt):
        do(run, of=1)
    assert MadeUpEntries.asked == ["2_stops.jpg"]
    assert [json.loads(line)["file"] for line in Shard(1, 1).path(run.out).read_bytes().splitlines()] == ["1.jpg"]


def test_a_process_that_was_thought_dead_does_no_harm(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run("1.jpg", "2.jpg", "3.jpg")
    header, shard = header_of(run), Shard(1, 1)
    successors: list[ShardResult] = []

    def taken_over(images: int) -> None:
        if images == 1 and not successors:  # the first process has written an image
            successors.append(run_shard(run, shard, header, make=MadeUpEntries))

    with raises(ErrorCode.FOLDER_TAKEN, match=r"shard-000001-of-000001\.jsonl"):
        run_shard(run, shard, header, make=MadeUpEntries, progress=taken_over)
    assert MadeUpEntries.asked == ["1.jpg", "2.jpg", "3.jpg", "2.jpg"]
    assert [entry["file"] for entry in joined(run, 1)] == ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "amvur"}, "options: model is final there and amvur here"),
        ({"max_hands": 2}, "options: max_hands is 10 there and 2 here"),
        ({"mesh": "ply"}, "options: mesh is none there and ply here"),
        ({"detector": "mediapipe"}, "options: detector is handviz there and None here"),
    ],
)
def test_other_options_are_refused(new_run: Callable[..., ShardedRun], change: dict[str, Any], message: str) -> None:
    run = new_run()
    do(run, 1)
    other = dataclasses.replace(run, request=dataclasses.replace(run.request, **change))
    for number in (1, 2):  # one that was started, and one that was not
        result = attempt_shard(other, Shard(number, 4), header_of(run), MadeUpEntries)
        assert result.is_fatal
        assert message in result.failure
        assert result.failure.startswith(f"{socket.gethostname()}: ")
    with raises(ErrorCode.FOLDER_TAKEN, match=message):
        run_shard(other, Shard(1, 4), header_of(other), make=MadeUpEntries)
    with raises(ErrorCode.FOLDER_TAKEN, match=message):
        complete_shards(other, 4, header_of(other))
    with raises(ErrorCode.FOLDER_TAKEN, match="4 shards, not 3"):
        complete(run, 3)
    do(dataclasses.replace(run, threads=2))


def test_other_models_programs_and_images_are_refused(
    new_run: Callable[..., ShardedRun], tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    do(run, 1)
    moved = tmp_path / "moved"
    moved.mkdir()
    content = (models / "handviz_final.onnx").read_bytes()
    (moved / "handviz_final.onnx").write_bytes(content)
    same = dataclasses.replace(run, request=dataclasses.replace(run.request, model_dir=moved))
    assert len(complete(same)) == 1
    (moved / "handviz_final.onnx").write_bytes(content + b"\0")
    with raises(ErrorCode.FOLDER_TAKEN, match=r"sha256: handviz_final\.onnx"):
        complete(same)
    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "__version__", "9.9")
        with raises(ErrorCode.FOLDER_TAKEN, match=r"handviz is .* there and 9\.9 here"):
            complete(run)
    (run.source / "a.png").rename(run.source / "c.png")
    with raises(ErrorCode.FOLDER_TAKEN, match="images_sha256"):
        complete(run)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"header": {}, "done": {"images": 3}}'])
def test_a_damaged_record_is_named(new_run: Callable[..., ShardedRun], content: bytes) -> None:
    run = new_run()
    do(run, 1)
    Shard(1, 4).path(run.out).with_suffix(".json").write_bytes(content)
    with raises(ErrorCode.FILE_DAMAGED, match=r"shard-000001-of-000004\.json"):
        complete(run)


def test_impossible_runs_are_refused(new_run: Callable[..., ShardedRun], tmp_path: Path) -> None:
    run = new_run("notes.txt", "clip.mp4")
    with raises(ErrorCode.EMPTY_INPUT, match="images"):
        header_of(run)
    with raises(ErrorCode.FILE_UNREADABLE, match=r"handviz_final\.onnx"):
        header_of(dataclasses.replace(run, request=ImageRequest(tmp_path / "nowhere")))
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"clip\.mp4"):
        header_of(dataclasses.replace(run, source=run.source / "clip.mp4"))
    with raises(ErrorCode.OPTION_CONFLICT, match="--out"):
        header_of(dataclasses.replace(run, out=run.source))
    folder_of(run.out, "listing.jsonl")
    with raises(ErrorCode.VERSION_MISMATCH):
        header_of(run)


def test_a_full_disk_is_no_fault_of_the_image(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run("1.jpg", "2_full.jpg")
    result = attempt_shard(run, Shard(1, 1), header_of(run), MadeUpEntries)
    assert "no space left" in result.failure
    assert not result.is_fatal
    assert [json.loads(line)["file"] for line in Shard(1, 1).path(run.out).read_bytes().splitlines()] == ["1.jpg"]


def test_an_output_folder_that_cannot_be_written(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run()
    run.out.write_text("a file where a folder should be")
    assert "cannot be written" in attempt_shard(run, Shard(1, 1), header_of(run), MadeUpEntries).failure


def test_a_shard_that_was_changed_is_not_joined(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run()
    do(run)
    path = Shard(2, 4).path(run.out)
    path.write_bytes(path.read_bytes().replace(b"1.", b"2."))
    with raises(ErrorCode.CHECKSUM, match=r"shard-000002-of-000004"):
        join(run, 4, complete(run))
    assert not (run.out / "hands.json").exists()
    with raises(ErrorCode.CHECKSUM, match=r"shard-000002-of-000004"):
        differing(run, complete(run), 50, MadeUpEntries)


def test_some_images_are_done_again_and_compared(new_run: Callable[..., ShardedRun]) -> None:
    run = new_run(*IMAGES, "broken.jpg")
    do(run, of=20)
    assert differing(run, complete(run, 20), 30, MadeUpEntries) == []

    class Other(MadeUpEntries):
        def entry(self, path: Path, file: str, stem: str) -> Any:
            return {"file": file, "hands": []}

    assert len(differing(run, complete(run, 20), 30, Other)) == 30


def test_many_images_need_no_more_memory_than_few(tmp_path: Path, models: Path) -> None:
    def peak_bytes(count: int, out: str) -> int:
        source = tmp_path / f"{count}.txt"
        source.write_text("".join(f"{number:09d}.jpg\n" for number in range(count)))
        run, shard = ShardedRun(source, tmp_path / out, ImageRequest(models)), Shard(1, 1)
        tracemalloc.start()
        header = header_of(run)
        assert header["images"] == count
        run_shard(run, shard, header, make=Forgetful)
        assert sum(1 for _ in entries_of(run.out, complete_shards(run, 1, header)[0])) == count
        join(run, 1, complete_shards(run, 1, header))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    class Forgetful(MadeUpEntries):
        asked = ()  # type: ignore[assignment]

        def entry(self, path: Path, file: str, stem: str) -> Any:
            return {"file": file, "hands": []}

    def least_peak_bytes(count: int) -> int:
        # Python's table of interned names, which counts paths, grows at some moment by megabytes at once.
        return min(peak_bytes(count, f"{count}_{attempt}") for attempt in range(2))

    peak_bytes(10, "first")
    gc.collect()
    # How long cycles of references wait for the collector depends on all that the process has in memory.
    gc.disable()
    try:
        assert least_peak_bytes(3_000) < 1.2 * least_peak_bytes(300)
    finally:
        gc.enable()
