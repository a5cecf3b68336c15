"""All doors, by name."""

from handviz.core.errors import ErrorCode, HandvizError
from tools.fuzzing import datasets, documents, media, networks
from tools.fuzzing.door import Door

DOORS: dict[str, Door] = {door.name: door for module in (media, documents, datasets, networks) for door in module.DOORS}


def door_named(name: str) -> Door:
    """Return the door of that name; HandvizError names the known ones."""
    if name not in DOORS:
        raise HandvizError(f"there is no door {name!r}: choose from {', '.join(DOORS)}", ErrorCode.UNKNOWN_NAME)
    return DOORS[name]
