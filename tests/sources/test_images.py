"""Images of every form and depth give the same RGB; hostile ones are refused before they take memory."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from handviz.core.errors import ErrorCode
from handviz.sources import images
from handviz.sources.images import MAX_DECODING_BYTES, image_frame, image_kind, note_on_light, read_image
from handviz.sources.samples import bits_of, eight_bit, white_of
from handviz.sources.source import FolderSource, open_source
from tests.errors import raises

HARD = Path(__file__).parent / "hard_images"
HEIGHT, WIDTH = 24, 40
RAMP = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
COLOURS = np.rint(np.dstack([RAMP, RAMP.T.reshape(HEIGHT, WIDTH), 255 - RAMP])).astype(np.uint8)
GREY = np.repeat(np.rint(RAMP).astype(np.uint8)[..., None], 3, axis=2)


def tiff_of(
    samples: NDArray[Any], *, planar: bool = False, white_is_zero: bool = False, big_endian: bool = False
) -> bytes:
    """Return an uncompressed TIFF of grey (H, W) or colours (H, W, C), in strips of five rows."""
    order, colours = ">" if big_endian else "<", 1 if samples.ndim == 2 else samples.shape[2]
    height, width = samples.shape[:2]
    stored = samples.astype(samples.dtype.newbyteorder(order))
    planes = [stored[..., channel] for channel in range(colours)] if planar else [stored]
    strips = [plane[top : top + 5].tobytes() for plane in planes for top in range(0, height, 5)]
    places = np.cumsum([8, *map(len, strips)])
    bits, kind = samples.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    tags: list[tuple[int, str, list[int]]] = [
        (256, "H", [width]), (257, "H", [height]), (258, "H", [bits] * colours), (259, "H", [1]),
        (262, "H", [2 if colours > 2 else 0 if white_is_zero else 1]), (273, "I", places[:-1].tolist()),
        (277, "H", [colours]), (278, "H", [5]), (279, "I", list(map(len, strips))), (284, "H", [2 if planar else 1]),
        (339, "H", [kind] * colours),
    ]  # fmt: skip
    end, entries, beyond = int(places[-1]), b"", b""
    for number, form, values in tags:
        packed = struct.pack(f"{order}{len(values)}{form}", *values)
        at = struct.pack(f"{order}I", end + 2 + 12 * len(tags) + 4 + len(beyond))
        entries += struct.pack(f"{order}HHI", number, 3 if form == "H" else 4, len(values))
        entries += packed.ljust(4, b"\0") if len(packed) <= 4 else at
        beyond += packed if len(packed) > 4 else b""
    start = struct.pack(f"{order}2sHI", b"MM" if big_endian else b"II", 42, end)
    return start + b"".join(strips) + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + beyond


def deep(rgb: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """Return the same image in a depth of 10 to 16 bits."""
    return np.rint(rgb / 255 * ((1 << bits) - 1)).astype(np.uint16)


TIFFS: dict[str, tuple[bytes, NDArray[np.uint8]]] = {
    **{f"grey of {bits} bits": (tiff_of(deep(GREY[..., 0], bits)), GREY) for bits in (10, 12, 14, 16)},
    **{f"RGB of {bits} bits": (tiff_of(deep(COLOURS, bits)), COLOURS) for bits in (10, 12, 14, 16)},
    "negative of 16 bits": (tiff_of(65535 - deep(GREY[..., 0], 16), white_is_zero=True), GREY),
    "negative of 8 bits": (tiff_of(255 - GREY[..., 0], white_is_zero=True), GREY),
    "grey of floats": (tiff_of((GREY[..., 0] / 255).astype(np.float32)), GREY),
    "RGB of floats": (tiff_of((COLOURS / 255).astype(np.float32)), COLOURS),
    "RGB of floats up to 255": (tiff_of(COLOURS.astype(np.float32)), COLOURS),
    "RGB of doubles": (tiff_of(COLOURS / 255.0), COLOURS),
    "planes of floats": (tiff_of((COLOURS / 255).astype(np.float32), planar=True), COLOURS),
    "planes of 16 bits": (tiff_of(deep(COLOURS, 16), planar=True), COLOURS),
    "planes of 12 bits, big-endian": (tiff_of(deep(COLOURS, 12), planar=True, big_endian=True), COLOURS),
    "planes of 8 bits": (tiff_of(COLOURS, planar=True), COLOURS),
    "grey of 32 bits": (tiff_of(GREY[..., 0].astype(np.uint32) * 16_843_009), GREY),
    "grey of 12 bits in 32": (tiff_of(deep(GREY[..., 0], 12).astype(np.int32)), GREY),
    "RGB of 32 bits": (tiff_of(COLOURS.astype(np.uint32) * 16_843_009), COLOURS),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiffs_of_every_depth_and_layout(tmp_path: Path, name: str) -> None:
    content, expected = TIFFS[name]
    (tmp_path / "a.tif").write_bytes(content)
    assert image_kind(tmp_path / "a.tif") == "still"
    # Pillow keeps the upper byte where the whole depth is used, 10 bits are coarser than that.
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), expected, atol=1)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_png(tmp_path: Path, bits: int) -> None:
    for name, image in (("grey", GREY[..., 0]), ("rgb", COLOURS[..., ::-1])):
        cv2.imwrite(str(tmp_path / f"{name}.png"), deep(image, bits))
    np.testing.assert_allclose(read_image(tmp_path / "grey.png"), GREY, atol=1)
    np.testing.assert_allclose(read_image(tmp_path / "rgb.png"), COLOURS, atol=1)


def test_alpha_of_deep_colours_is_over_black(tmp_path: Path) -> None:
    half = np.full((HEIGHT, WIDTH, 1), 0x7FFF, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([deep(COLOURS[..., ::-1], 12), half]))
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), COLOURS / 2, atol=1)


def test_a_mono_camera_of_12_bits_is_as_bright_as_its_scene() -> None:
    assert read_image(HARD / "grey12in16.tif").max() > 200


def test_half_floats_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of((COLOURS / 255).astype(np.float16)))
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match="floats of 16 bits"):
        read_image(tmp_path / "a.tif")


def test_colour_spaces(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS)
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    found = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    assert found is not None
    found.save(tmp_path / "lab.tif")
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
    # Colours at the end of the range are rounded most.
    assert np.abs(read_image(tmp_path / "lab.tif").astype(int) - COLOURS).mean() < 2
    for name in ("cmyk.tif", "cmyk.jpg"):
        np.testing.assert_allclose(read_image(tmp_path / name), COLOURS, atol=8, err_msg=name)


def test_palette_with_transparency_and_one_bit(tmp_path: Path) -> None:
    image = Image.fromarray(GREY[..., 0]).convert("P")
    image.save(tmp_path / "p.png", transparency=255)
    expected = np.where(GREY == 255, 0, GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), expected)
    Image.fromarray(GREY[..., 0] > 99).save(tmp_path / "one.png")
    np.testing.assert_array_equal(read_image(tmp_path / "one.png"), (GREY > 99) * np.uint8(255))


def test_conversion_in_parts_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in ("RGB", "RGBA", "P", "CMYK", "L"):
        image = Image.fromarray(COLOURS).convert(mode)
        whole = images.rgb_from_image(image)
        with monkeypatch.context() as patch:
            patch.setattr(images, "PART_PX", 3 * WIDTH + 1)
            np.testing.assert_array_equal(images.rgb_from_image(image), whole, err_msg=mode)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_as_pillow_turns_it(orientation: int) -> None:
    turns: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    np.testing.assert_array_equal(images.upright(COLOURS, orientation), turns[orientation](COLOURS))


# HEIC.


def test_tiles_of_a_phones_heic_are_one_image() -> None:
    source = open_source(str(HARD / "grid.heic"))
    assert isinstance(source, FolderSource)
    frame = source.read()
    assert frame is not None
    assert frame.image.shape == (960, 1280, 3)
    jpeg = cv2.resize(read_image(HARD / "base.jfif"), (1280, 960), interpolation=cv2.INTER_CUBIC)
    assert np.abs(frame.image.astype(int) - jpeg).mean() < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_heic_is_turned_once(tmp_path: Path, turns: int) -> None:
    content = bytearray((HARD / "grid.heic").read_bytes())
    content[content.index(b"irot") + 4] = turns
    (tmp_path / "a.jpg").write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), np.rot90(read_image(HARD / "grid.heic"), turns))


def test_heic_without_its_decoder_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    source = open_source(str(HARD / "grid.heic"))
    with raises(ErrorCode.PACKAGE_MISSING, match=r"HEIC.*pip install pi-heif.*JPEG"):
        source.read()


def test_damaged_heic(tmp_path: Path) -> None:
    content = (HARD / "grid.heic").read_bytes()
    for length in (40, 300, 700, 9000):
        (tmp_path / "a.heic").write_bytes(content[:length])
        with raises(ErrorCode.FILE_DAMAGED):
            read_image(tmp_path / "a.heic")


def test_the_decoder_of_heic_is_loaded_for_heic_only() -> None:
    code = f"import sys; from handviz.sources.images import read_image; from pathlib import Path;\
read_image(Path({str(HARD / 'base.jfif')!r})); assert 'pi_heif' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# EXIF's focal length.


def photograph(path: Path, focal_mm: int, stated: tuple[int, int] | None, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    part = exif.get_ifd(0x8769)
    part[0xA405] = focal_mm
    if stated:
        part[0xA002], part[0xA003] = stated
    Image.fromarray(np.repeat(np.repeat(COLOURS, 12, 0), 10, 1)[:, :384]).save(path, exif=exif.tobytes())
    return path


@pytest.mark.parametrize(
    ("stated", "orientation", "is_used"),
    [
        (None, 1, True),
        ((384, 288), 1, True),
        ((4032, 3024), 6, True),
        ((3024, 4032), 1, True),
        ((4032, 2268), 1, False),
    ],
    ids=["no size", "same", "reduced and turned", "turned before", "cropped"],
)
def test_focal_length_of_exif(tmp_path: Path, stated: tuple[int, int] | None, orientation: int, is_used: bool) -> None:
    path = photograph(tmp_path / "a.jpg", 26, stated, orientation)
    focal_px = image_frame(path).exif_focal_px
    assert focal_px == (pytest.approx(26 / 43.27 * 480) if is_used else None)


def test_no_focal_length() -> None:
    assert image_frame(HARD / "base.jfif").exif_focal_px is None
    assert image_frame(HARD / "grid.heic").exif_focal_px is None


# Notes.


@pytest.mark.parametrize(("level", "named"), [(9, "nearly black"), (150, "one colour"), (None, "")])
def test_images_that_show_nothing_are_said(tmp_path: Path, level: int | None, named: str) -> None:
    image = COLOURS if level is None else np.full_like(COLOURS, level)
    Image.fromarray(image).save(tmp_path / "a.png")
    note = note_on_light(read_image(tmp_path / "a.png"))
    assert named in note
    assert bool(note) == bool(named)


# Samples.


def test_samples() -> None:
    assert [bits_of(np.array([value])) for value in (3, 1023, 4095, 70_000, 1 << 31)] == [8, 10, 12, 24, 32]
    light = np.linspace(0, 1, 1000)
    light[-3:] = 40.0
    assert white_of([light]) == 1.0, "lights are above white"
    assert white_of([light[:500], 900 * light]) == 65535
    strange = np.array([np.nan, np.inf, -np.inf, -1.0, 0.5])
    assert eight_bit(strange, white_of([strange])).tolist() == [0, 255, 0, 0, 128]
    assert white_of([np.zeros((0, 3), np.uint16)]) == 255


# Bombs.


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of this size with these chunks, and without pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    written = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", png_of(60_000, 60_000)),
        ("a.gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x00\x00\x00,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"),
        ("a.bmp", b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0)),
        ("a.tga", struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 60_000, 60_000, 24, 0) + bytes(9)),
    ],
)
def test_huge_sizes_are_refused_before_decoding(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with raises(ErrorCode.TOO_LARGE, match=r"\d{5} x \d{5}"):
        read_image(tmp_path / name)


def test_text_and_profile_that_unpack_to_much_are_refused(tmp_path: Path) -> None:
    much = zlib.compress(bytes(50_000_000))
    for kind, data in ((b"zTXt", b"a\0\0" + much), (b"iCCP", b"a\0\0" + much), (b"iTXt", b"a\0\1\0\0\0" + much)):
        (tmp_path / "a.png").write_bytes(png_of(4, 4, (kind, data)))
        with raises(ErrorCode.FILE_DAMAGED):
            read_image(tmp_path / "a.png")


def bomb_of_tags(count: int = 2000, length: int = 100_000) -> bytes:
    """Return a TIFF whose tags all point to the same bytes."""
    entries = b"".join(struct.pack("<HHII", 1000 + number, 7, length, 8) for number in range(count))
    return struct.pack("<2sHI", b"II", 42, 8 + length) + bytes(length) + struct.pack("<H", count) + entries + bytes(4)


def test_tags_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(bomb_of_tags())
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part
        for part in (bomb_of_tags()[at : at + 60_000] for at in range(0, len(bomb_of_tags()), 60_000))
    )
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + segments + (HARD / "base.jfif").read_bytes()[2:])
    exif = bomb_of_tags()
    (tmp_path / "a.png").write_bytes(png_of(4, 4, (b"eXIf", exif)))
    for name in ("a.tif", "a.jpg", "a.png"):
        with raises(ErrorCode.TOO_LARGE, match="memory"):
            read_image(tmp_path / name)


MEASURE = """
import resource, sys
from pathlib import Path
from handviz.core.errors import HandvizError
from handviz.sources.images import image_frame, read_image
read_image(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(image_frame(Path(sys.argv[2])).image.shape, end=" ")
except HandvizError as error:
    print(error.code, end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the system has no resource module")
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "progressive.jpg", "a.webp", "a.tif", "a.gif", "a.avif", "a.jp2"])
def test_reading_takes_less_than_a_gigabyte(tmp_path: Path, name: str) -> None:
    image_format = {".jpg": "JPEG", ".tif": "TIFF"}.get(Path(name).suffix)
    bytes_per_px = images.BYTES_PER_PX.get({"a.webp": "WEBP", "a.jp2": "JPEG2000", "a.avif": "AVIF"}.get(name, name), 8)
    bytes_per_px = images.BYTES_PER_PX["progressive"] if "progressive" in name else bytes_per_px
    width = 10_000
    height = min(images.MAX_IMAGE_PX, MAX_DECODING_BYTES // bytes_per_px) // width
    options: dict[str, Any] = {"progressive": True, "subsampling": 0} if "progressive" in name else {}
    options |= {"compression": "tiff_adobe_deflate"} if name == "a.tif" else {}
    options |= {"method": 0} if name == "a.webp" else {"speed": 10} if name == "a.avif" else {}
    mode, colour = ("P", 3) if name == "a.gif" else ("RGB", (90, 120, 60))
    Image.new(mode, (width, height), colour).save(tmp_path / name, image_format, **options)
    command = [sys.executable, "-c", MEASURE, str(HARD / "base.jfif"), str(tmp_path / name)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found[:3] == [f"({height},", f"{width},", "3)"]
    assert int(found[3]) < 1000
