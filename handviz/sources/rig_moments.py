"""Moments of a rig: the frames that its cameras took at one time, from clips by their times, from folders by name."""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.multiview import CalibratedView, LeftOutView
from handviz.core.records import Frame
from handviz.sources.clips import ClipSource
from handviz.sources.rig import Rig, RigView
from handviz.sources.source import FolderSource, natural_key, open_source

HALF_FRAME, NEXT_FRAME = 0.5, 0.75
"""Of a frame's duration: the farthest frame that belongs to a time, and the nearest one that begins another moment."""
ROUNDING_MS = 0.5
NAMESAKES = 0.5
"""If more than this fraction of all images has one of the same name in another view, names tell the moments."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MomentView:
    """What one camera saw at a moment."""

    name: str
    """Of the view."""
    file: str
    """The image's name, of clips with the frame's number."""
    frame: Frame
    """Without lens distortion"""
    camera: CalibratedView


@dataclass(frozen=True, eq=False)
class Moment:
    """One time at which several calibrated cameras saw the same hands."""

    number: int
    """From 0, without gaps."""
    views: tuple[MomentView, ...]
    left_out: tuple[LeftOutView, ...] = ()
    """Views without a frame near that time, or with one that cannot be used."""
    time_ms: float | None = None
    """In the time that all clips of the rig share; None for images."""


class MomentSource(Protocol):
    """Moments in order."""

    name: str
    is_clip: bool
    """Whether moments follow each other as the frames of a clip do."""

    @property
    def count(self) -> int | None:
        """The number of moments as far as is known."""
        ...

    def moments(self) -> Iterator[Moment]:
        """Yield all moments; HandvizError if nothing can be read."""
        ...

    def close(self) -> None:
        """Close all files; may be called twice."""
        ...


class RigSource:
    """The moments of a rig's clips or folders."""

    def __init__(self, rig: Rig) -> None:
        """Open all sources; HandvizError if one cannot be opened, or if clips and folders are mixed."""
        self.name, self._rig = rig.name, rig
        with ExitStack() as resources:
            self._sources = [_opened(view, resources) for view in rig.views]
            self.is_clip = isinstance(self._sources[0], ClipSource)
            if any(isinstance(source, ClipSource) != self.is_clip for source in self._sources):
                raise HandvizError(
                    f"{rig.name} has clips and folders of images, whose times cannot be compared: give either",
                    ErrorCode.OPTION_CONFLICT,
                )
            self._resources = resources.pop_all()

    @property
    def count(self) -> int | None:
        """The number of moments, of clips an estimate."""
        if not self.is_clip:
            return len(_grouped([_images(source) for source in self._sources]))
        counts = [source.frame_count for source in self._sources]
        period_ms = max(1000 / source.nominal_fps for source in self._sources)
        return max(
            (round((count or 0) * 1000 / source.nominal_fps / period_ms)
             for count, source in zip(counts, self._sources, strict=True)),
            default=None,
        )  # fmt: skip

    def moments(self) -> Iterator[Moment]:
        """Yield all moments from the first one on, those of one view too."""
        return self._of_clips() if self.is_clip else self._of_folders()

    def close(self) -> None:
        """Close all files."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _of_folders(self) -> Iterator[Moment]:
        paths = [_images(source) for source in self._sources]
        for number, images in enumerate(_grouped(paths)):
            views: list[MomentView] = []
            left_out: list[LeftOutView] = []
            for view, source, at in zip(self._rig.views, self._sources, images, strict=True):
                if at is None:
                    left_out.append(LeftOutView(view.name, "time", "it has no image of this moment"))
                    continue
                source.seek(at)
                found = _read(source)
                self._add(view, found, views, left_out)
            yield Moment(number, tuple(views), tuple(left_out))

    def _of_clips(self) -> Iterator[Moment]:
        for source in self._sources:  # where an earlier pass has left them
            source.seek(0)
        clocks = [
            _Clock(source, view.time_offset_ms) for source, view in zip(self._sources, self._rig.views, strict=True)
        ]
        for number, time_ms in enumerate(_times_ms(clocks)):
            views: list[MomentView] = []
            left_out: list[LeftOutView] = []
            for view, clock in zip(self._rig.views, clocks, strict=True):
                found = clock.taken(time_ms)
                if found is None:
                    left_out.append(LeftOutView(view.name, "time", "it has no frame near this time"))
                else:
                    self._add(view, found, views, left_out)
            yield Moment(number, tuple(views), tuple(left_out), time_ms)

    def _add(
        self, view: RigView, found: Frame | HandvizError, views: list[MomentView], left_out: list[LeftOutView]
    ) -> None:
        """Add what a view saw to one of both lists."""
        try:
            if isinstance(found, HandvizError):
                raise found
            frame, camera = view.undistorted(found)
        except HandvizError as error:
            left_out.append(LeftOutView(view.name, "unreadable", str(error)))
        else:
            assert isinstance(view.source, Path)
            file = found.name or f"{view.source.name}#{found.number:06d}"
            views.append(MomentView(view.name, file, frame, camera))


def _opened(view: RigView, resources: ExitStack) -> ClipSource | FolderSource:
    try:
        source = open_source(str(view.source))
    except HandvizError as error:
        raise HandvizError(f"view {view.name}: {error}", error.code) from error
    resources.callback(source.close)
    assert isinstance(source, ClipSource | FolderSource), "a path is no camera"
    return source


def _read(source: ClipSource | FolderSource) -> Frame | HandvizError:
    """Return the next frame, or why it cannot be read."""
    try:
        found = source.read()
    except HandvizError as error:
        return error
    return found or HandvizError(f"{source.name} has ended before its last image", ErrorCode.EMPTY_INPUT)


# Folders: by name or by number.


def _images(source: ClipSource | FolderSource) -> list[Path]:
    assert isinstance(source, FolderSource)
    return source.paths


def _grouped(views: Sequence[Sequence[Path]]) -> list[list[int | None]]:
    """Return for each moment the number of each view's image, None where it has none.

    By equal names without suffix if most images have such a namesake in another view, else by their order.
    """
    stems = [{path.stem: at for at, path in reversed(list(enumerate(paths)))} for paths in views]
    counts = Counter(stem for of in stems for stem in of)
    namesakes = sum(counts[stem] > 1 for of in stems for stem in of)
    if namesakes > NAMESAKES * sum(map(len, stems)):
        return [[of.get(stem) for of in stems] for stem in sorted(counts, key=natural_key)]
    longest = max(map(len, views))
    if longest != min(map(len, views)):
        logger.warning("the folders have different numbers of images: they are taken in order, and the last ones alone")
    return [[at if at < len(paths) else None for paths in views] for at in range(longest)]


# Clips: by time.


class _Clock:
    """The frames of a clip in the rig's time; a few are read ahead."""

    def __init__(self, source: ClipSource | FolderSource, offset_ms: float) -> None:
        self._source, self._offset_ms = source, offset_ms
        self.period_ms = 1000 / source.nominal_fps
        self._ahead: deque[tuple[float, Frame | HandvizError]] = deque()
        self._last_ms = offset_ms - self.period_ms
        self._has_ended = False

    def time_after(self, time_ms: float) -> float | None:
        """Return the time of the first frame after a time; None at the end.

        Of the frames before, those that may be the nearest to a later time stay.
        """
        while True:
            while self._ahead and self._ahead[0][0] < time_ms - self.period_ms:
                self._ahead.popleft()
            for at_ms, _ in self._ahead:
                if at_ms > time_ms:
                    return at_ms
            if not self._read_on():
                return None

    def taken(self, time_ms: float) -> Frame | HandvizError | None:
        """Return the frame nearest to a time, None if that is more than half a frame away; drop all up to it."""
        self.time_after(time_ms)
        near = min(self._ahead, key=lambda item: abs(item[0] - time_ms), default=None)
        is_near = near is not None and abs(near[0] - time_ms) <= HALF_FRAME * self.period_ms + ROUNDING_MS
        found = near if is_near else None
        while self._ahead and self._ahead[0][0] <= (time_ms if found is None else found[0]):
            self._ahead.popleft()
        return None if found is None else found[1]

    def _read_on(self) -> bool:
        if self._has_ended:
            return False
        try:
            frame = self._source.read()
        except HandvizError as error:
            self._last_ms += self.period_ms
            self._ahead.append((self._last_ms, error))
            return True
        self._has_ended = frame is None
        if frame is not None:
            self._last_ms = (frame.time_ms or 0.0) + self._offset_ms
            self._ahead.append((self._last_ms, frame))
        return not self._has_ended


def _times_ms(clocks: Sequence[_Clock]) -> Iterator[float]:
    """Yield the times of moments: of the slowest clip's frames, and where it has none of the next slowest one's."""
    slowest_first = sorted(clocks, key=lambda clock: -clock.period_ms)
    period_ms, last_ms = slowest_first[0].period_ms, float("-inf")
    while True:
        times = [clock.time_after(last_ms + NEXT_FRAME * period_ms) for clock in slowest_first]
        there = [time_ms for time_ms in times if time_ms is not None]
        if not there:
            return
        last_ms = next(time_ms for time_ms in there if time_ms <= min(there) + HALF_FRAME * period_ms)
        yield last_ms
