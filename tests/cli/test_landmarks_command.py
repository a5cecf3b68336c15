"""``handviz landmarks``: what MediaPipe says, as a hands.json."""

import json
from pathlib import Path
from types import SimpleNamespace as Found
from typing import Any

import cv2
import numpy as np
import pytest

from handviz.__main__ import main
from handviz.cli import landmarks as command
from handviz.core.paths import CLIP_FILE
from handviz.core.records import Frame
from handviz.detection.landmarker import HandLandmarker
from handviz.sources.source import open_source


def entries_of(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / "hands.json").read_text())
    return entries


@pytest.fixture
def clip_frame() -> Frame:
    source = open_source(str(CLIP_FILE))
    try:
        frame = source.read()
    finally:
        source.close()
    assert frame is not None
    return frame


def test_a_folder_gives_what_mediapipe_says(tmp_path: Path, clip_frame: Frame) -> None:
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "hand.png"), clip_frame.image[..., ::-1])
    cv2.imwrite(str(images / "nothing.png"), np.full((100, 120, 3), 90, np.uint8))
    (images / "broken.png").write_bytes(b"no image")
    assert main(["landmarks", str(images), "--out", str(tmp_path / "out")]) == 0
    broken, hand, nothing = entries_of(tmp_path / "out")
    assert "broken.png" in broken["error"]
    assert (nothing["file"], nothing["width"], nothing["height"], nothing["hands"]) == ("nothing.png", 120, 100, [])
    with HandLandmarker(video=False, max_hands=10) as landmarker:
        expected = landmarker.detect_with_world_landmarks(clip_frame.image)
    assert len(hand["hands"]) == len(expected) > 0
    for entry, (detection, landmarks_m) in zip(hand["hands"], expected, strict=True):
        assert entry["handedness"] == detection.handedness
        np.testing.assert_allclose(entry["keypoints_image_px"], detection.keypoints_px, atol=1e-3)
        np.testing.assert_allclose(entry["keypoints_camera_m"], landmarks_m - landmarks_m[0], atol=1e-6)
        assert 0.05 < np.ptp(np.array(entry["keypoints_camera_m"]), axis=0).max() < 0.3
        assert {entry[name] for name in ("keypoint_std_mm", "vertex_std_mm", "wrist_camera_m", "mesh")} == {None}
        assert entry["uncertainty"] == "none"


def test_a_clip_gives_every_nth_frame_with_its_time(tmp_path: Path) -> None:
    assert main(["landmarks", str(CLIP_FILE), "--out", str(tmp_path), "--every", "60"]) == 0
    entries = entries_of(tmp_path)
    assert len(entries) > 1
    assert entries[1]["file"] == f"{CLIP_FILE.name}#000060"
    assert entries[1]["time_ms"] > entries[0]["time_ms"]


def test_nothing_readable_is_status_1_and_a_camera_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert main(["landmarks", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert len(entries_of(tmp_path / "out")) == 1
    monkeypatch.setattr(command, "open_source", lambda _: Found(is_live=True, close=lambda: None))
    assert main(["landmarks", "camera:0", "--out", str(tmp_path / "live")]) == 1
    assert "record the camera first" in capsys.readouterr().err
    assert not (tmp_path / "live").exists()
