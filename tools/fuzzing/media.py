"""Doors of images and clips."""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from handviz.core.errors import HandvizError
from handviz.sources.images import (
    equivalent_focal_mm,
    image_kind,
    note_on_pages,
    read_image,
    read_thumbnail,
)
from tools.fuzzing.door import Door, check, check_finite, check_rgb

SIZE, CLIP_FRAMES, READ_FRAMES = (96, 72), 24, 60
JUMPS = (12, 3, 23, 0, 400, 17)
THUMBNAIL_PX = 48
EXIF_ORIENTATION, EXIF_PART, EXIF_FOCAL = 0x0112, 0x8769, 0xA405
CLIPS: dict[str, tuple[str, str, str]] = {
    "h264.mp4": ("libx264", "yuv420p", "faststart"),
    "fragmented.mp4": ("libx264", "yuv420p", "frag_keyframe+empty_moov"),
    "mpeg4.mp4": ("mpeg4", "yuv420p", ""),
    "h264.mov": ("libx264", "yuv420p", ""),
    "h264.mkv": ("libx264", "yuv420p", ""),
    "vp8.webm": ("libvpx", "yuv420p", ""),
    "mjpeg.avi": ("mjpeg", "yuvj420p", ""),
    "h264.ts": ("libx264", "yuv420p", ""),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", ""),
}


def drawn(number: int) -> NDArray[np.uint8]:
    """Return a small image (72, 96, 3) with edges, shades and some noise."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    image = np.stack([2 * x + 3 * number, 3 * y, (x + y + 5 * number) % 256], axis=2)
    image[20:50, 10 + number : 40 + number] = (220, 160, 130)
    noise = np.random.default_rng(number).integers(0, 12, image.shape)
    return np.asarray((image + noise).clip(0, 255), np.uint8)


# Still images.


def write_images(folder: Path) -> None:
    """Write one image in every format, and the depths and kinds that PNG and TIFF have."""
    image = Image.fromarray(drawn(0))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    exif.get_ifd(EXIF_PART)[EXIF_FOCAL] = 28
    image.save(folder / "base.jpg", quality=80, exif=exif)
    image.save(folder / "progressive.jpg", quality=70, progressive=True)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    for suffix in ("png", "bmp", "gif", "webp", "ppm", "jp2", "tga"):
        image.save(folder / f"base.{suffix}")
    image.convert("L").save(folder / "grey.pgm")
    image.convert("P").save(folder / "palette.png")
    alpha = image.copy()
    alpha.putalpha(image.convert("L"))
    alpha.save(folder / "alpha.png")
    alpha.save(folder / "alpha.webp", lossless=True)
    deep = drawn(0)[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "deep.tif")
    Image.fromarray(deep.astype(np.float32) / 65535).save(folder / "float.tif")
    image.save(folder / "lzw.tif", compression="tiff_lzw")
    image.save(folder / "pages.tif", save_all=True, append_images=[image], compression="tiff_adobe_deflate")
    image.save(folder / "views.mpo", save_all=True, append_images=[image])
    if features.check("avif"):
        image.save(folder / "base.avif")


def read_still(path: Path) -> None:
    """Read an image by every function that opens one."""
    focal_mm = equivalent_focal_mm(path)
    check_finite(focal_mm or 0, "the focal length")
    image_kind(path)
    note_on_pages(path)
    with suppress(HandvizError):
        thumbnail = read_thumbnail(path, THUMBNAIL_PX)
        check_rgb(thumbnail)
        check(max(thumbnail.shape) <= THUMBNAIL_PX, f"a thumbnail of {thumbnail.shape}")
    check_rgb(read_image(path))


# Clips.


def write_animations(folder: Path) -> None:
    """Write animated images."""
    first, *rest = (Image.fromarray(drawn(number)) for number in range(12))
    suffixes = ("gif", "png", "webp", *(["avif"] if features.check("avif") else []))
    for suffix in suffixes:
        first.save(folder / f"animation.{suffix}", save_all=True, append_images=rest, duration=40, loop=0)


def _write_clip(path: Path) -> None:
    import av

    codec, pixels, flags = CLIPS[path.name]
    options = {"fflags": "+bitexact", **({"movflags": flags} if flags else {})}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", "flags": "+bitexact"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.gop_size, stream.bit_rate = pixels, 8, 200_000
        for number in range(CLIP_FRAMES):
            frame = av.VideoFrame.from_ndarray(drawn(number), format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_clips(*names: str) -> Callable[[Path], None]:
    """Return the writer of these clips."""

    def write(folder: Path) -> None:
        for name in names:
            _write_clip(folder / name)

    return write


def read_clip(path: Path) -> None:
    """Read the first frames, jump six times, and read a frame behind each jump."""
    from handviz.sources.source import open_source

    source = open_source(str(path))
    try:
        check_finite(source.nominal_fps, "the rate")
        last = -1
        for _ in range(READ_FRAMES):
            last = _read_frame(source, last)
        for number in JUMPS:
            source.seek(number)
            _read_frame(source, -1)
    finally:
        source.close()


def _read_frame(source: object, last: int) -> int:
    """Check the next frame, whose number must be above the last; return its number."""
    try:
        frame = source.read()  # type: ignore[attr-defined]
    except HandvizError:  # a damaged frame: the next call goes on
        return last
    if frame is None:
        return last
    check_rgb(frame.image)
    check_finite(frame.time_ms or 0, "the time")
    check(frame.number > last, f"frame {frame.number} after frame {last}")
    return int(frame.number)


DOORS = (
    Door("images", write_images, read_still),
    Door("animations", write_animations, read_clip),
    Door("mp4", write_clips("h264.mp4", "fragmented.mp4", "mpeg4.mp4", "h264.mov"), read_clip),
    Door("matroska", write_clips("h264.mkv", "vp8.webm"), read_clip),
    Door("streams", write_clips("mjpeg.avi", "h264.ts", "mpeg2.mpg"), read_clip),
)
