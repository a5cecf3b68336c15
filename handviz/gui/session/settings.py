"""Settings of the user, saved between runs."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from handviz.core.arguments import between, limits_of
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import not_writable, read_limited, write_files
from handviz.core.paths import settings_folder
from handviz.gui.session.setting_values import checked, written
from handviz.gui.session.settings_file import (
    MAX_BYTES,
    MEMORY,
    VIEW,
    Table,
    is_path_text,
    json_of_tables,
    tables_from_json,
)
from handviz.pipeline.settings import PipelineSettings
from handviz.rendering.options import DrawOptions

LAYOUT_VERSION = "1"
"""Version of the file; increased when the meaning of a name or value changes."""
ThemeSetting = Literal["system", "dark", "light"]
FigureBackground = Literal["view", "white", "transparent"]
VERSION_KEY = "settings_version"
FILE_NAME, FORMER_NAME = "handviz.json", "handviz.ini"
BACKUP_SUFFIX = ".before-reset"
SHOWN_NAMES, SHOWN_CHARACTERS = 5, 40
"""Of values that cannot be used, in the message"""
FORMER_KEYS = {"camera_model": "lens", "model": "variant"}
"""Names of fields in files of version 0.1."""
FORMER_VALUES = {
    ("colour", "deviation"): "uncertainty",
    ("difference_pair", "prior_amvur"): "prior,amvur",
    ("difference_pair", "prior_final"): "prior,final",
    ("difference_pair", "amvur_final"): "amvur,final",
}
"""Values of fields in files of version 0.1."""
ShownColour = Literal["uncertainty", "texture", "plain", "difference", "attention"]
SHOWN_COLOUR = "shown_colour"
"""Name of the choice of what the colours show, for widgets and ``Controller.change``: it is no field."""
INSTEAD_OF_COLOUR = ("difference", "attention")
"""Fields that take the place of ``colour`` while they are on, never two of them."""
DERIVED = frozenset(("others", "texture"))
"""Fields of the pipeline that ``wanted_of_pipeline`` fills."""
OF_ONE_DRAWING = frozenset(("legend", "inset", "background"))
"""Fields of ``DrawOptions`` that belong to a view, not to the user."""


@dataclass(frozen=True)
class ViewSettings:
    """Settings of the window: those of drawing, those of the pipeline, and its own; no field's name is there twice."""

    draw: DrawOptions = field(default_factory=lambda: DrawOptions(compare_crop=True))
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    loop: bool = True
    """Play clips again from their beginning."""
    every_frame: bool = False
    """Let clips wait for the reconstruction instead of skipping frames."""
    attention: bool = False
    """Show the attention of the picked point."""
    theme: ThemeSetting = "system"
    figure_scale: Annotated[int, between(1, 4)] = 1
    """Size of saved and copied images, relative to the view."""
    figure_background: FigureBackground = "view"
    """Of saved and copied images: as in the view, or the hands alone on white or nothing."""
    figure_crop: bool = False
    """Crop saved and copied images to the selected hand, or to all hands."""


def _places() -> dict[str, tuple[str, Any]]:
    parts: dict[str, type] = {"draw": DrawOptions, "pipeline": PipelineSettings, "": ViewSettings}
    return {
        item.name: (part, item.type)
        for part, kind in parts.items()
        for item in fields(kind)
        if item.name not in DERIVED | OF_ONE_DRAWING | {"draw", "pipeline"}
    }


PLACES = _places()
"""Part of ``ViewSettings`` (empty: its own) and type of every setting, by its name."""
LIMITS = {name: limits for name, (_, kind) in PLACES.items() if (limits := limits_of(kind)) is not None}
"""Limits of the settings that are numbers, which stand in their types."""


def shown_colour(settings: ViewSettings) -> ShownColour:
    """Return what the colours show: a difference map or attention, or else the setting ``colour``."""
    if settings.draw.difference:
        return "difference"
    return "attention" if settings.attention else settings.draw.colour


def with_one_colour(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes in which whatever the colours are to show takes the place of what they showed."""
    given = dict(changes)
    chosen = given.pop(SHOWN_COLOUR, None)
    if chosen in INSTEAD_OF_COLOUR:
        given[chosen] = True
    elif chosen is not None:
        given["colour"] = chosen
    if "colour" in given or any(given.get(name) for name in INSTEAD_OF_COLOUR):
        return dict.fromkeys(INSTEAD_OF_COLOUR, False) | given
    return given


def drawn_with(settings: ViewSettings) -> DrawOptions:
    """Return the options of the large view; attention is drawn over plain hands, until a point is picked and after."""
    if shown_colour(settings) != "attention":
        return settings.draw
    return replace(settings.draw, colour="plain", relight=False)


def value_of(settings: ViewSettings, name: str) -> Any:
    """Return a setting by its name, or what the colours show (``SHOWN_COLOUR``)."""
    if name == SHOWN_COLOUR:
        return shown_colour(settings)
    part = PLACES[name][0]
    return getattr(getattr(settings, part) if part else settings, name)


def flat(settings: ViewSettings) -> dict[str, Any]:
    """Return all settings by their names."""
    return {name: value_of(settings, name) for name in PLACES}


def changed(settings: ViewSettings, **changes: Any) -> ViewSettings:
    """Return settings with other values, by their names, whichever part they are in."""
    parts: dict[str, dict[str, Any]] = {"draw": {}, "pipeline": {}, "": {}}
    for name, value in changes.items():
        parts[PLACES[name][0]][name] = value
    draw, pipeline = replace(settings.draw, **parts["draw"]), replace(settings.pipeline, **parts["pipeline"])
    return replace(settings, draw=draw, pipeline=pipeline, **parts[""])


def wanted_of_pipeline(settings: ViewSettings) -> PipelineSettings:
    """Return what the pipeline has to do for these settings: a texture in its colour, and every model that is shown."""
    draw = settings.draw
    shown = (*(draw.compared if draw.compare else ()), *(draw.difference_pair if draw.difference else ()))
    return replace(settings.pipeline, texture=shown_colour(settings) == "texture", others=tuple(dict.fromkeys(shown)))


class SettingsStore:
    """A JSON file in the user's configuration folder (or in ``HANDVIZ_CONFIG_DIR``); it belongs to the GUI thread.

    Until it is written for the first time, the values of ``handviz.ini`` beside it are taken, which stays as it is.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or settings_folder()) / FILE_NAME
        self.on_error: Callable[[str], None] | None = None
        """takes the message that the file cannot be written, once; None: it is part of ``notice``"""
        self._messages: list[str] = []
        self._unusable: dict[str, None] = {}
        self._is_failure_told = False
        self._content = b""
        self._unsaved: dict[str, Table] = {VIEW: {}, MEMORY: {}}
        self._tables: dict[str, Table] = {VIEW: {}, MEMORY: {}}
        self._read()

    @property
    def notice(self) -> str:
        """Message about settings that could not be used or saved, mostly empty."""
        messages = list(self._messages)
        if self._unusable:
            names = [_shown(name) for name in list(self._unusable)[:SHOWN_NAMES]]
            more = ", …" if len(self._unusable) > SHOWN_NAMES else ""
            messages.append(f"Saved settings cannot be used ({', '.join(names)}{more}): they are the defaults now.")
        return " ".join(messages)

    def _read(self) -> None:
        """Read the file, or the former one if there is none; what is damaged, or of another version, is set aside."""
        try:
            self._content = read_limited(self.path, MAX_BYTES, "it is set aside")
            tables = tables_from_json(self._content)
        except (HandvizError, ValueError, RecursionError) as error:
            if isinstance(error, HandvizError) and error.code is ErrorCode.FILE_MISSING:
                self._read_former()
            else:
                self._reset("could not be read")
            return
        self._take(tables, self._reset)

    def _read_former(self) -> None:
        path = self.path.with_name(FORMER_NAME)
        if not os.path.lexists(path):
            return
        # Here, because most starts need neither it nor configparser.
        from handviz.gui.session.former_settings import read_former_settings

        try:
            found = read_former_settings(path)
        except HandvizError as error:
            if error.code is not ErrorCode.FILE_MISSING:
                self._pass_over_former("could not be read")
            return
        self._take({group: dict(found.get(group, {})) for group in (VIEW, MEMORY)}, self._pass_over_former)

    def _take(self, tables: dict[str, Table], refuse: Callable[[str], None]) -> None:
        version = str(tables[MEMORY].get(VERSION_KEY) or "")
        if version not in ("", LAYOUT_VERSION):
            refuse(f"is of another version ({version[:20]})")
            return
        wrong = [name for name, value in tables[MEMORY].items() if not is_path_text(value)]
        self._unusable |= dict.fromkeys(wrong)
        for name in wrong:
            del tables[MEMORY][name]
        self._tables = tables

    def _reset(self, why: str) -> None:
        backup = self.set_aside()
        suffix = f", the old file is {backup.name} beside it." if backup else "."
        self._messages.append(f"The settings file {why}: settings reset to defaults{suffix}")

    def _pass_over_former(self, why: str) -> None:
        self._messages.append(f"The settings file {FORMER_NAME} {why}: settings reset to defaults; it stays as it is.")
        # So that this is said once.
        self._write()

    def set_aside(self) -> Path | None:
        """Reset all settings; return the path of a backup of the old file, None without one."""
        backup = None
        try:
            if self.path.lstat().st_size > 0:
                # A new name needs no room on a full disk, and an older backup is replaced by a whole file only.
                os.replace(self.path, self.path.with_name(self.path.name + BACKUP_SUFFIX))
                backup = self.path.with_name(self.path.name + BACKUP_SUFFIX)
        except OSError:
            pass
        self._tables, self._unsaved = {VIEW: {}, MEMORY: {}}, {VIEW: {}, MEMORY: {}}
        self._unusable, self._content = {}, b""
        self._write()
        return backup

    def load(self) -> ViewSettings:
        """Return the saved settings; invalid values become the defaults, which ``notice`` says."""
        found: dict[str, Any] = {}
        for name, (_, kind) in PLACES.items():
            keys = [key for key in (name, FORMER_KEYS.get(name, "")) if key in self._tables[VIEW]]
            if not keys:
                continue
            saved = self._tables[VIEW][keys[0]]
            value = checked(kind, LIMITS.get(name), FORMER_VALUES.get((name, saved), saved))
            if value is None:
                self._unusable[keys[0]] = None
            else:
                found[name] = value
        return changed(ViewSettings(), **found)

    def save(self, settings: ViewSettings) -> None:
        """Save all settings."""
        self._put(VIEW, {name: written(value) for name, value in flat(settings).items()})

    def text(self, name: str) -> str:
        """Return a saved text, empty if there is none."""
        return str(self._tables[MEMORY].get(name, ""))

    def save_text(self, name: str, text: str) -> None:
        """Save a text for the next run."""
        self._put(MEMORY, {name: text})

    def _put(self, group: str, values: Mapping[str, Any]) -> None:
        self._unsaved[group].update(values)
        self._tables[group].update(values)
        self._write()

    def _write(self) -> None:
        """Write the file if something has changed; values that cannot be written stay, and are tried again."""
        self._take_others()
        self._tables[MEMORY][VERSION_KEY] = LAYOUT_VERSION
        content = json_of_tables(self._tables)
        if content == self._content:
            return
        try:
            if len(content) > MAX_BYTES:
                raise HandvizError(f"they take more than {MAX_BYTES:,} bytes", ErrorCode.TOO_LARGE)
            self._make_folder()
            write_files({self.path: content})
        except HandvizError as error:
            self._tell_failure(f"Settings are lost when the window closes: {error}")
        else:
            self._content, self._unsaved = content, {VIEW: {}, MEMORY: {}}

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(self.path, error) from error

    def _take_others(self) -> None:
        """Take what another window has saved since, except for what this one has changed."""
        try:
            content = read_limited(self.path, MAX_BYTES, "")
            if content == self._content:
                return
            tables = tables_from_json(content)
        except (HandvizError, ValueError, RecursionError):
            self._content = b""
            return
        self._content = content
        if tables[MEMORY].get(VERSION_KEY) == LAYOUT_VERSION:
            tables[MEMORY] = {name: value for name, value in tables[MEMORY].items() if is_path_text(value)}
            self._tables = {group: table | self._unsaved[group] for group, table in tables.items()}

    def _tell_failure(self, message: str) -> None:
        if self._is_failure_told:
            return
        self._is_failure_told = True
        if self.on_error is None:
            self._messages.append(message)
        else:
            self.on_error(message)


def _shown(name: str) -> str:
    """Return a name from a file for a message, which may be shown as rich text."""
    return "".join(letter for letter in name[:SHOWN_CHARACTERS] if letter.isprintable() and letter not in "<>&")
