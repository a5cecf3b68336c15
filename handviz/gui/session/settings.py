"""Settings of the user, saved between runs."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from handviz.core.camera_files import camera_model_from_text, camera_model_text, hand_size_from_text, hand_size_text
from handviz.core.camera_model import ASSUMED_CAMERA, UNMEASURED, CameraModel, HandSize
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import not_writable, read_limited, write_files
from handviz.core.paths import settings_folder
from handviz.core.records import SMOOTHING_KINDS, HandednessSetting, ModelId, SmoothingKind
from handviz.gui.session.settings_file import (
    MAX_BYTES,
    MEMORY,
    VIEW,
    Table,
    is_path_text,
    json_of_tables,
    tables_from_json,
)
from handviz.rendering.options import DEFAULT_COMPARED, ColourMode, Difference, DrawOptions, UncertainMode, ViewMode

LAYOUT_VERSION = "1"
"""Version of the file; increased when the meaning of a name or value changes."""
ThemeSetting = Literal["system", "dark", "light"]
DifferencePair = Literal["prior_amvur", "prior_final", "amvur_final"]
"""The two models whose difference is shown, joined by an underscore."""
VERSION_KEY = "settings_version"
FILE_NAME, FORMER_NAME = "handviz.json", "handviz.ini"
BACKUP_SUFFIX = ".before-reset"
SHOWN_NAMES, SHOWN_CHARACTERS = 5, 40
"""Of values that cannot be used, in the message"""
FORMER_KEYS = {"camera_model": "lens", "model": "variant"}
"""Names of fields in files of version 0.1."""
FORMER_VALUES = {("colour", "deviation"): "uncertainty"}
"""Values of fields in files of version 0.1."""
CHOICES: dict[str, tuple[str, ...]] = {
    "model": DEFAULT_COMPARED,
    "colour": get_args(ColourMode),
    "view": get_args(ViewMode),
    "uncertain": get_args(UncertainMode),
    "smoothing_kind": SMOOTHING_KINDS,
    "theme": get_args(ThemeSetting),
    "side": get_args(HandednessSetting),
    "difference_pair": get_args(DifferencePair),
}
LIMITS: dict[str, tuple[float, float]] = {
    "opacity": (0.1, 1.0),
    "smoothing": (0.0, 1.0),
    "range_low_mm": (0.0, 499.0),
    "range_high_mm": (0.5, 500.0),
    "uncertain_above_mm": (0.5, 30.0),
    "ellipse_sigmas": (1.0, 2.0),
}


@dataclass(frozen=True)
class ViewSettings:
    """Settings of the live view."""

    model: ModelId = "final"
    colour: ColourMode = "uncertainty"
    view: ViewMode = "overlay"
    wireframe: bool = False
    skeleton: bool = False
    mark_inferred: bool = False
    relight: bool = False
    mirror: bool = False
    opacity: float = 0.9
    range_is_automatic: bool = True
    range_low_mm: float = 0.0
    range_high_mm: float = 10.0
    smoothing: float = 0.3
    smoothing_kind: SmoothingKind = "kalman"
    camera_model: CameraModel = ASSUMED_CAMERA
    hand_size: HandSize = UNMEASURED
    loop: bool = True
    uncertain: UncertainMode = "show"
    uncertain_above_mm: float = 10.0
    ellipses: bool = False
    ellipse_sigmas: float = 2.0
    attention: bool = False
    theme: ThemeSetting = "system"
    side: HandednessSetting = "detected"
    compare: bool = False
    difference: bool = False
    difference_pair: DifferencePair = "prior_final"
    difference_aligned: bool = False

    @property
    def wants_texture(self) -> bool:
        """Whether a texture is needed."""
        return self.colour == "texture"

    @property
    def wants_others(self) -> bool:
        """Whether the hands of all models are needed."""
        return self.compare or self.difference

    @property
    def shown_difference(self) -> Difference | None:
        """The two models that are compared, None if no difference map is shown."""
        if not self.difference:
            return None
        first, second = (model for model in DEFAULT_COMPARED if model in self.difference_pair.split("_"))
        return Difference(first, second, aligned=self.difference_aligned)

    def draw_options(self) -> DrawOptions:
        """Return the settings that concern drawing."""
        fixed = (self.range_low_mm, max(self.range_high_mm, self.range_low_mm + 0.5))
        return DrawOptions(
            colour=self.colour,
            view=self.view,
            wireframe=self.wireframe,
            skeleton=self.skeleton,
            mirror=self.mirror,
            opacity=self.opacity,
            std_range_mm=None if self.range_is_automatic else fixed,
            mark_inferred=self.mark_inferred,
            relight=self.relight,
            uncertain=self.uncertain,
            uncertain_above_mm=self.uncertain_above_mm,
            ellipses=self.ellipses,
            ellipse_sigmas=self.ellipse_sigmas,
            compare=self.compare,
            difference=self.shown_difference,
        )


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
        settings = ViewSettings()
        for item in fields(ViewSettings):
            names = [name for name in (item.name, FORMER_KEYS.get(item.name, "")) if name in self._tables[VIEW]]
            if not names:
                continue
            saved = self._tables[VIEW][names[0]]
            value = _checked(item.name, getattr(settings, item.name), FORMER_VALUES.get((item.name, saved), saved))
            if value is None:
                self._unusable[names[0]] = None
            else:
                settings = replace(settings, **{item.name: value})
        return settings

    def save(self, settings: ViewSettings) -> None:
        """Save all settings."""
        self._put(VIEW, {item.name: _written(getattr(settings, item.name)) for item in fields(ViewSettings)})

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


def _written(value: Any) -> Any:
    if isinstance(value, CameraModel):
        return camera_model_text(value)
    return hand_size_text(value) if isinstance(value, HandSize) else value


def _checked(name: str, default: Any, saved: Any) -> Any:
    """Return a saved value as the field has it, None if it is none; numbers and booleans may be texts."""
    if isinstance(default, CameraModel | HandSize):
        try:
            return (camera_model_from_text if isinstance(default, CameraModel) else hand_size_from_text)(str(saved))
        except HandvizError:
            return None
    if isinstance(default, bool):
        return saved if isinstance(saved, bool) else {"true": True, "false": False}.get(str(saved))
    if isinstance(default, float):
        return _number_within(saved, *LIMITS[name])
    return saved if saved in CHOICES[name] else None


def _shown(name: str) -> str:
    """Return a name from a file for a message, which may be shown as rich text."""
    return "".join(letter for letter in name[:SHOWN_CHARACTERS] if letter.isprintable() and letter not in "<>&")


def _number_within(saved: Any, low: float, high: float) -> float | None:
    if saved is None or isinstance(saved, bool):
        return None
    try:
        number = float(saved)
    except ValueError:
        return None
    return number if low <= number <= high else None
