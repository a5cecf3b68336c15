"""Export of recordings as animations, for the command and the window's menu."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import write_files
from handviz.io.recording.animated_glb import AnimationColour, animated_glb, fit_tracks
from handviz.io.recording.bvh import bvh_text, fit_skeleton
from handviz.io.recording.recorded import Track, read_entries, read_tracks
from handviz.io.recording.tracks import table_header, table_rows

AnimationKind = Literal["glb", "bvh", "csv"]
KINDS: tuple[AnimationKind, ...] = ("glb", "bvh", "csv")
GLB_NAME, TABLE_NAME = "hands.glb", "keypoints.csv"


@dataclass(frozen=True)
class Animation:
    """A file exported from a recording."""

    path: Path
    message: str
    """Its content and its distance from the recorded hands."""


def animate(
    recording: Path, kinds: Collection[AnimationKind], out: Path | None = None, *, colour: AnimationColour = "plain"
) -> list[Animation]:
    """Write ``hands.glb``, a BVH per hand and the table of keypoints into ``out`` (None: into the recording's folder).

    Raises HandvizError if the recording holds no hand, or the files cannot be written.
    """
    tracks, folder = read_tracks(recording), out or recording
    done: list[Animation] = []
    if "glb" in kinds:
        done.append(_write_glb(folder / GLB_NAME, tracks, colour))
    if "bvh" in kinds:
        done += [_write_bvh(folder / f"{track.name}.bvh", track) for track in tracks if len(track.times_s) > 1]
    if "csv" in kinds:
        try:
            rows = [table_rows(entry) for entry in read_entries(recording)]
        except (KeyError, TypeError, ValueError) as error:
            raise HandvizError(f"{recording} is damaged: record again ({error!r}).", ErrorCode.FILE_DAMAGED) from error
        write_files({folder / TABLE_NAME: table_header() + b"".join(rows)})
        done.append(Animation(folder / TABLE_NAME, f"keypoints of {len(rows)} results"))
    return done


def _write_glb(path: Path, tracks: list[Track], colour: AnimationColour) -> Animation:
    hands = fit_tracks(tracks)
    content = animated_glb(hands, colour=colour)
    write_files({path: content})
    hand_messages = [
        f"{hand.track.name} {len(hand.track.times_s)} keys, "
        f"{_distance(hand.fit.mean_error_mm, hand.fit.largest_error_mm)}"
        for hand in hands
    ]
    return Animation(path, f"{'; '.join(hand_messages)}; {len(content) / 1e6:.1f} MB")


def _write_bvh(path: Path, track: Track) -> Animation:
    skeleton = fit_skeleton(track)
    write_files({path: bvh_text(skeleton).encode("ascii")})
    distance = _distance(skeleton.mean_error_mm, skeleton.largest_error_mm)
    return Animation(path, f"{len(skeleton.wrists_m)} frames at {1 / skeleton.frame_s:.2f} Hz, {distance}")


def _distance(mean_mm: float, largest_mm: float) -> str:
    return f"{mean_mm:.2f} mm from the record on average, {largest_mm:.1f} mm at most"
