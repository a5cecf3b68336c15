"""H.264 in MP4 through PyAV: written in fragments of a second, which survive a killed program, then made seekable."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from handviz.core.files import atomic_path, not_writable

ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf", "mpeg4")
"""The first one that is there is used; all but the last write H.264."""
X264 = {"preset": "veryfast", "crf": "20", "bf": "0", "threads": "2"}
"""No image is held back to be coded from later ones, so that a killed program loses little but its last fragment."""
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
BT709, VIDEO_RANGE = 1, 1
logger = logging.getLogger(__name__)


class Mp4Writer:
    """Encoder of BGR images at a constant rate; every method may raise HandvizError."""

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float) -> None:
        """Create the file for images of ``size`` (width, height), both even."""
        self._path, self._is_open = path, True
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        if encoder != ENCODERS[0]:
            logger.warning("%s is missing: the video is encoded by %s", ENCODERS[0], encoder)
        with _errors_named(self._path):
            self._container = av.open(f"file:{path.absolute()}", "w", format="mp4", options=FRAGMENTED)
            rate = Fraction(rate_hz).limit_denominator(1001)
            stream = self._container.add_stream(encoder, rate, X264 if encoder == ENCODERS[0] else {})
            self._stream = cast(av.VideoStream, stream)
            self._stream.width, self._stream.height = size
            context = self._stream.codec_context
            context.pix_fmt, context.gop_size, context.color_range = "yuv420p", round(rate_hz), VIDEO_RANGE
            context.colorspace = context.color_primaries = context.color_trc = BT709
            self._container.start_encoding()

    def write(self, image_bgr: NDArray[np.uint8]) -> None:
        """Encode one more image (H, W, 3)."""
        if self._is_open:
            frame = av.VideoFrame.from_ndarray(image_bgr, format="bgr24")
            self._mux(frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"))

    def release(self) -> None:
        """Write what the encoder holds, and the end of the file."""
        if self._is_open:
            self._mux(None)
            self._is_open = False
            with _errors_named(self._path):
                self._container.close()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        with _errors_named(self._path):
            try:
                self._container.mux(self._stream.encode(frame))
            except av.FFmpegError:
                # After an error nothing more may be written: FFmpeg would crash.
                self._is_open = False
                with suppress(av.FFmpegError):
                    self._container.close()
                raise


def make_seekable(path: Path) -> None:
    """Copy an MP4 over itself without encoding, in one piece with its index in front; HandvizError if that fails."""
    with _errors_named(path), atomic_path(path) as copy, av.open(f"file:{path.absolute()}") as source:
        options = {"movflags": "faststart"}
        with av.open(f"file:{copy.absolute()}", "w", format="mp4", options=options) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        cause = OSError(error.errno or 0, error.strerror or "")
        raise not_writable(path, cause) from error
