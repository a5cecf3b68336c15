"""Reads ``handviz.ini``, the settings file of versions up to 0.1, which Qt wrote, without Qt.

``QSettings`` may run code when it reads: PyQt unpickles Python objects that a value contains. Only texts, booleans and
numbers are taken here; values of Qt's other types (``@Variant(...)``, ``@Point(...)``) are left out.
"""

import configparser
import re
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_limited

MAX_BYTES = 2**20
MAX_KEY = 500
REMEDY = "delete it, or set the options in the window again"
ENTRY = re.compile(rf"[^\s=;#\[][^\s=]{{0,{MAX_KEY}}}\s{{0,8}}=")
"""The start of a line with a value. Others are left out: with much white space they take ``configparser`` long."""
KEY_ESCAPE = re.compile(r"%U([0-9a-fA-F]{4})|%([0-9a-fA-F]{2})")
TOKEN = re.compile(
    r'\\x(?P<hex>[0-9a-fA-F]+)|\\(?P<octal>[0-7]+)|\\(?P<letter>.)|(?P<sign>[",])|(?P<plain>[^\\",]+)|\\'
)
LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
OTHER_TYPE = re.compile(r"@\w*\(")
TEXT_TYPES = ("@ByteArray(", "@String(")
INVALID = "@Invalid()"


def read_former_settings(path: Path) -> dict[str, dict[str, str | None]]:
    """Return the texts by group and name, None for values of other kinds; HandvizError if the file is not readable."""
    content = read_limited(path, MAX_BYTES, REMEDY)
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("a zero")
        parser = _parsed(text)
    except (ValueError, configparser.Error) as error:
        raise HandvizError(f"{path} is damaged: {REMEDY}", ErrorCode.FILE_DAMAGED) from error
    return {
        _unescaped_key(group): {
            _unescaped_key(key): _text(value) for key, value in parser.items(group) if value.strip() != INVALID
        }
        for group in parser.sections()
    }


def _parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=(";", "#"), strict=False, default_section="", interpolation=None
    )
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    lines = text.split("\n")
    parser.read_string("\n".join(line for line in lines if line.startswith("[") or ENTRY.match(line)))
    if text.strip() and not parser.sections():
        raise ValueError("no group")
    return parser


def _unescaped_key(key: str) -> str:
    text = KEY_ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), key).replace("\\", "/")
    return _joined_pairs(text)


def _text(value: str) -> str | None:
    """Return a value's text; None if it is a list or of another type."""
    items = _items(value)
    text = items[0]
    if len(items) > 1:
        return None
    for start in TEXT_TYPES:
        if text.startswith(start) and text.endswith(")"):
            return text[len(start) : -1]
    if text.startswith("@@"):
        return text[1:]
    return None if OTHER_TYPE.match(text) else text


def _items(value: str) -> list[str]:
    """Return the items of a list as Qt writes it: separated by commas, quoted where needed; most have one item."""
    items, is_quoted, spare = [""], False, 0
    for token in TOKEN.finditer(value):
        if token["sign"] == '"':
            is_quoted, spare = not is_quoted, 0
        elif token["sign"] == "," and not is_quoted:
            items[-1] = items[-1][: len(items[-1]) - spare]
            items.append("")
            spare = 0
        else:
            piece = _unescaped(token)
            if token["plain"] and not is_quoted:
                piece = piece if items[-1] else piece.lstrip()
                spare = len(piece) - len(piece.rstrip())
            else:
                spare = 0
            items[-1] += piece
    items[-1] = items[-1][: len(items[-1]) - spare]
    return [_joined_pairs(item) for item in items]


def _unescaped(token: re.Match[str]) -> str:
    if token["hex"]:
        return chr(int(token["hex"][-4:], 16))
    if token["octal"]:
        return chr(int(token["octal"][-5:], 8) & 0xFFFF)
    if token["letter"]:
        return LETTERS.get(token["letter"], token["letter"])
    return token["plain"] or token["sign"] or ""


def _joined_pairs(text: str) -> str:
    """Return the text with the two halves that Qt writes of a character beyond U+FFFF as one."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
