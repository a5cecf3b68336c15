"""Small text files, written whole or not at all."""

import contextlib
import os
from pathlib import Path

from handviz.core.errors import HandvizError


def write_text(path: Path, text: str) -> Path:
    """Write beside the place and move there; raises HandvizError if it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise HandvizError(f"cannot write {path} ({error}); what was there is intact") from error
    return path
