"""What a file is by its first bytes, and by its name where they do not tell: image, clip, or of a kind not read."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

HEAD_BYTES = 32


def _suffixes(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMAGE_SUFFIXES = _suffixes(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .bmp .dib .tif .tiff .webp .gif .ppm .pgm .pbm .pnm .jp2 "
    ".j2k .avif .heic .heif .hif .tga"
)
CLIP_SUFFIXES = _suffixes(".mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mxf .vob .asf")
RAW_SUFFIXES = _suffixes(
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .pef .srw .x3f .3fr .iiq .rwl .erf .kdc .dcr .mrw .gpr"
)
OTHER_SUFFIXES = _suffixes(".psd .psb .svg .svgz .jxl .exr .hdr .xcf .ai .eps .kra")
DATA_SUFFIXES = _suffixes(
    ".txt .json .jsonl .csv .md .xml .yaml .yml .toml .ini .log .html .npy .npz .pkl .ply .obj .mtl "
    ".glb .bvh .pdf .zip .gz .tar .db .py .xmp .aae"
)
"""What is known to be no image is not opened."""
FileKind = Literal["", "image", "heic", "clip", "raw", "other"]
REASONS: dict[FileKind, str] = {
    "clip": "a clip, which is read by itself and not as an image: give its path",
    "raw": "a raw file of a camera, which is not read: export it as JPEG, PNG or TIFF",
    "other": "a format that is not read: export it as PNG, JPEG or TIFF",
}
"""Why a file of such a kind is left out of a folder's images."""
HEADS: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"\xff\xd8\xff", "image"),
    (0, b"\x89PNG\r\n\x1a\n", "image"),
    (0, b"GIF87a", "image"),
    (0, b"GIF89a", "image"),
    (8, b"WEBP", "image"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image"),
    (0, b"\xff\x4f\xff\x51", "image"),
    (8, b"CR\x02", "raw"),
    (0, b"FUJIFILMCCD-RAW", "raw"),
    (0, b"IIRO", "raw"),
    (0, b"IIRS", "raw"),
    (0, b"MMOR", "raw"),
    (0, b"IIU\x00", "raw"),
    (0, b"II*\x00", "image"),
    (0, b"MM\x00*", "image"),
    (0, b"II+\x00", "image"),
    (0, b"MM\x00+", "image"),
    (8, b"AVI ", "clip"),
    (0, b"\x1aE\xdf\xa3", "clip"),
    (0, b"FLV\x01", "clip"),
    (0, b"OggS", "clip"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "clip"),
    (0, b"\x00\x00\x01\xba", "clip"),
    (0, b"\x00\x00\x01\xb3", "clip"),
    (0, b"8BPS", "other"),
    (0, b"\xff\x0a", "other"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "other"),
    (0, b"\x76\x2f\x31\x01", "other"),
    (0, b"#?RADIANCE", "other"),
    (0, b"gimp xcf", "other"),
)
"""Place, bytes and kind. TIFF comes after the raw files that begin as it does."""
BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Sizes of the second header of a BMP: its own two letters are too few to know it by."""
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2")
TGA_TYPES, TGA_DEPTHS = (1, 2, 3, 9, 10, 11), (8, 15, 16, 24, 32)


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file; empty if it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def kind_of(path: Path) -> FileKind:
    """Return what the file is by its content; by its suffix if it begins as TIFF, or as nothing known."""
    suffix, kind = path.suffix.lower(), kind_of_head(head := head_of(path))
    is_tiff = head[:4] in (b"II*\x00", b"MM\x00*")
    if kind and not (is_tiff and suffix in RAW_SUFFIXES):
        return kind
    if suffix == ".tga":
        return "image" if is_tga(head) else ""
    return "raw" if suffix in RAW_SUFFIXES else "other" if suffix in OTHER_SUFFIXES else ""


def kind_of_head(head: bytes) -> FileKind:
    """Return what begins with these bytes; empty if that is unknown."""
    for at, start, kind in HEADS:
        if head[at : at + len(start)] == start:
            return kind
    if head[4:8] == b"ftyp":
        return _kind_of_brands(head)
    is_bitmap = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BITMAP_HEADERS
    is_netpbm = head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace() and head[3:4] in b"0123456789#"
    return "image" if len(head) > 3 and (is_bitmap or is_netpbm) else ""


def _kind_of_brands(head: bytes) -> FileKind:
    """Return what an ISO base media file is: HEIC and AVIF share the general brands of images."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    main, brands = head[8:12], [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    if main == b"crx ":
        return "raw"
    if main in (b"avif", b"avis") or (main in HEIC_BRANDS and {b"avif", b"avis"} & set(brands)):
        return "image"
    return "heic" if main in HEIC_BRANDS else "clip"


def is_tga(head: bytes) -> bool:
    """Return whether these bytes can be the header of a TGA, which has no mark of its own."""
    is_known = len(head) >= 18 and head[1] in (0, 1) and head[2] in TGA_TYPES and head[16] in TGA_DEPTHS
    return is_known and any(head[12:14]) and any(head[14:16])


def is_image_file(path: Path) -> bool:
    """Return whether a folder's file is taken for an image: by its suffix, and by its content if that is unknown."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix in CLIP_SUFFIXES | RAW_SUFFIXES | OTHER_SUFFIXES | DATA_SUFFIXES:
        return False
    return kind_of(path) in ("image", "heic")


def left_out(folder: Path, *, recursive: bool = False) -> list[tuple[str, str]]:
    """Return name and reason of a folder's files that look like images or clips and are not among its images.

    Names are relative to the folder, in order of their characters. Hidden files and what is no image (lists, meshes)
    are not named. A folder that cannot be read has none.
    """
    return sorted(_left_out(folder, "", recursive))


def _left_out(folder: Path, prefix: str, recursive: bool) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            files = [entry.name for entry in visible if entry.is_file()]
            folders = [entry.name for entry in visible if recursive and entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in files:
        suffix = Path(name).suffix.lower()
        if suffix not in DATA_SUFFIXES and not is_image_file(folder / name):
            kind: FileKind = "clip" if suffix in CLIP_SUFFIXES else kind_of(folder / name)
            if reason := REASONS.get(kind):
                yield prefix + name, reason
    for name in folders:
        yield from _left_out(folder / name, f"{prefix}{name}/", recursive)


def left_out_message(files: list[tuple[str, str]]) -> str:
    """Return "3 files of kinds that are not read: .psd x2, .mov" for what ``left_out`` found; empty for none."""
    counts = Counter(Path(name).suffix.lower() or "without suffix" for name, _ in files)
    if not counts:
        return ""
    named = ", ".join(f"{suffix} x{count}" if count > 1 else suffix for suffix, count in sorted(counts.items()))
    return f"{len(files)} file{'s' * (len(files) > 1)} of kinds that are not read as images: {named}"
