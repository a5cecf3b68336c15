"""Damage to files as broken disks, other programs and attackers do it, the same for the same random numbers."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

MAX_BYTES = 4_000_000
"""Damaged files grow no larger: what is small must not cost much."""
MAX_CHANGES = 4
EXTREMES = (
    *("NaN", "-Infinity", "1e400", "-1", "0", "-0.0", "1e308", "1e-320", "0.5", "true", "null"),
    *(str(2**31), str(2**63), str(2**64), "1" * 400, "-" + "9" * 5000, '"\\ud800"', '""', "[]", "{}", "[[1], 2]"),
)
BINARY_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
PAIR = re.compile(rb'"[^"\n]{1,80}"\s*:\s*[^,{}\[\]\n]{1,200}')
TOKENS = (
    b"null",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"=",
    b"\n",
    b"\x00",
    b"\xff\xfe",
    b"&a",
    b"*a",
    b"!!python/object",
)
DEPTHS = (100, 3_000, 100_000)
PNG_START = b"\x89PNG\r\n\x1a\n"
ZIP_START = b"PK\x03\x04"
TEXT_PROBE = 2_000
Mutation = Callable[[bytes, bytes, Random], bytes]


def damaged(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Return the content with one to four changes; ``others`` are whole files of the same kind."""
    for _ in range(random.randint(1, MAX_CHANGES)):
        other = random.choice(others) if others else content
        most = max(MAX_BYTES, len(content))
        content = random.choice(_mutations(content))(content, other, random)[:most]
    return content


def _mutations(content: bytes) -> tuple[Mutation, ...]:
    """Return what can be done to content of its kind: text has numbers and encodings, archives have members."""
    if content.startswith(ZIP_START):
        return (*BYTES, *(3 * [_member_of_zip]))
    if content.startswith(PNG_START):
        return (*BYTES, *(3 * [_chunk_of_png]))
    return TEXT if _is_text(content[:TEXT_PROBE]) else BYTES


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(content) - 4 > 0


def _bit_flips(content: bytes, _: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _flip in range(random.choice((1, 1, 2, 8, 32)) if changed else 0):
        changed[_position(len(changed), random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncation(content: bytes, _: bytes, random: Random) -> bytes:
    return content[: random.randint(0, len(content))]


def _cut(content: bytes, _: bytes, random: Random) -> bytes:
    start, end = _piece(content, random)
    return content[:start] + content[end:]


def _duplicate(content: bytes, _: bytes, random: Random) -> bytes:
    start, end = _piece(content, random)
    return content[:end] + content[start:end] * random.choice((1, 1, 2, 50)) + content[end:]


def _splice(content: bytes, other: bytes, random: Random) -> bytes:
    at = random.random()
    return content[: int(at * len(content))] + other[int(at * len(other)) :]


def _run(content: bytes, _: bytes, random: Random) -> bytes:
    start, end = _piece(content, random)
    value = random.choice((b"\0", b"\xff", b""))
    return content[:start] + (value * (end - start) or random.randbytes(end - start)) + content[end:]


def _extreme_integer(content: bytes, _: bytes, random: Random) -> bytes:
    kind = random.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
    size, value = struct.calcsize(kind), random.choice(BINARY_EXTREMES)
    at = _position(max(len(content) - size, 1), random)
    return content[:at] + struct.pack(kind, value % 256**size) + content[at + size :]


def _extreme_number(content: bytes, _: bytes, random: Random) -> bytes:
    found = _chosen(NUMBER, content, random)
    value = random.choice(EXTREMES).encode()
    return content if found is None else content[: found.start()] + value + content[found.end() :]


def _depth(content: bytes, _: bytes, random: Random) -> bytes:
    depth = random.choice(DEPTHS)
    opened, closed = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[{", b"}]"), (b"- ", b""), (b"<a>", b"</a>")))
    nested = opened * depth + b"1" + closed * random.choice((depth, 0))
    found = _chosen(NUMBER, content, random)
    return nested if found is None else content[: found.start()] + nested + content[found.end() :]


def _repeated_key(content: bytes, _: bytes, random: Random) -> bytes:
    found = _chosen(PAIR, content, random)
    return content if found is None else content[: found.end()] + b", " + found[0] + content[found.end() :]


def _token(content: bytes, _: bytes, random: Random) -> bytes:
    at = random.randint(0, len(content))
    return content[:at] + random.choice(TOKENS) + content[at + random.choice((0, 1, 5)) :]


def _encoding(content: bytes, _: bytes, random: Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return random.choice(
        (
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-32-be"),
            lambda: b"\xef\xbb\xbf" + content,
            lambda: content.replace(b"a", b"\xe4"),
            lambda: content.replace(b"e", b"\xed\xa0\x80", 1),
            lambda: content.replace(b"\n", b"\r"),
        )
    )()


def _member_of_zip(content: bytes, other: bytes, random: Random) -> bytes:
    """Damage one member and pack again, so that its checksum is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # noqa: BLE001 an earlier change damaged the archive, in any way
        return _bit_flips(content, other, random)
    if not members:
        return content
    chosen = random.choice(sorted(members))
    change = random.choice((_bit_flips, _truncation, _run, _extreme_number, _extreme_integer, _cut))
    members[chosen] = change(members[chosen], members[chosen], random)
    if random.random() < 0.1:
        del members[random.choice(sorted(members))]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member)
    return packed.getvalue()


def _chunk_of_png(content: bytes, other: bytes, random: Random) -> bytes:
    """Damage one chunk and correct its checksum."""
    chunks, at = [], len(PNG_START)
    while at + 12 <= len(content):
        size = struct.unpack_from(">I", content, at)[0]
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return _bit_flips(content, other, random)
    number = random.randrange(len(chunks))
    kind, body = chunks[number]
    if kind == b"IDAT" and random.random() < 0.5:
        try:
            body = zlib.compress(_bit_flips(zlib.decompress(body), b"", random))
        except zlib.error:
            body = _bit_flips(body, b"", random)
    else:
        body = random.choice((_bit_flips, _extreme_integer, _truncation))(body, b"", random)
    chunks[number] = (kind, body)
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return PNG_START + b"".join(packed)


def _position(size: int, random: Random) -> int:
    """Return a place in the file; two of three lie near its beginning, where headers are."""
    return random.randrange(min(size, random.choice((100, 4000, size))))


def _piece(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(content))
    return start, min(start + random.choice((1, 2, 4, 16, 256, len(content) // 2)), len(content))


def _chosen(pattern: re.Pattern[bytes], content: bytes, random: Random) -> re.Match[bytes] | None:
    """Return a match behind a random place, else the first."""
    return pattern.search(content, random.randint(0, len(content))) or pattern.search(content)


BYTES: tuple[Mutation, ...] = (_bit_flips, _bit_flips, _truncation, _cut, _duplicate, _splice, _run, _extreme_integer)
TEXT: tuple[Mutation, ...] = (
    *(_bit_flips, _truncation, _cut, _duplicate, _splice, _run, _token, _depth, _repeated_key, _encoding),
    *(3 * (_extreme_number,)),
)
