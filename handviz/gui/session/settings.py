"""Settings of the user, saved between runs."""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import platformdirs
from PyQt6.QtCore import QSettings

from handviz.core.camera_files import camera_model_from_text, camera_model_text, hand_size_from_text, hand_size_text
from handviz.core.camera_model import ASSUMED_CAMERA, UNMEASURED, CameraModel, HandSize
from handviz.core.errors import HandvizError
from handviz.core.files import write_files
from handviz.core.records import SMOOTHING_KINDS, VARIANTS, HandednessSetting, SmoothingKind, VariantName
from handviz.rendering.options import ColourMode, Difference, DrawOptions, UncertainMode, ViewMode

CONFIG_FOLDER_VARIABLE = "HANDVIZ_CONFIG_DIR"
LAYOUT_VERSION = "1"
"""Version of the file; increased when the meaning of a name or value changes."""
ThemeSetting = Literal["system", "dark", "light"]
DifferencePair = Literal["prior_amvur", "prior_final", "amvur_final"]
"""The two models whose difference is shown, joined by an underscore."""
VERSION_KEY = "memory/settings_version"
FORMER_KEYS = {"camera_model": "lens"}
"""Names of fields in files of version 0.1."""
FORMER_VALUES = {("colour", "deviation"): "uncertainty"}
"""Values of fields in files of version 0.1."""
CHOICES: dict[str, tuple[str, ...]] = {
    "variant": VARIANTS,
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

    variant: VariantName = "final"
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
        first, second = (variant for variant in VARIANTS if variant in self.difference_pair.split("_"))
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
    """An ini file in the user's configuration folder (or in ``HANDVIZ_CONFIG_DIR``)."""

    def __init__(self, folder: Path | None = None) -> None:
        chosen = folder or os.environ.get(CONFIG_FOLDER_VARIABLE) or platformdirs.user_config_path("handviz")
        self.path = Path(chosen) / "handviz.ini"
        self.notice = ""
        """message about a settings file that could not be used, mostly empty"""
        self._file = QSettings(str(self.path), QSettings.Format.IniFormat)
        self._check()

    def _check(self) -> None:
        """Replace a damaged file, or one of another version, and keep it beside the new one."""
        version = str(self._file.value(VERSION_KEY, "") or "")
        is_broken = self._file.status() != QSettings.Status.NoError or (self.path.is_file() and not self._holds_text())
        if is_broken:
            self._reset("could not be read")
        elif self._file.allKeys() and version not in ("", LAYOUT_VERSION):
            self._reset(f"is of another version ({version[:20]})")
        if not self._file.contains(VERSION_KEY):
            self._file.setValue(VERSION_KEY, LAYOUT_VERSION)

    def _holds_text(self) -> bool:
        """Return whether the file is text; Qt accepts any bytes as an ini file."""
        try:
            return "\0" not in self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return False

    def _reset(self, why: str) -> None:
        backup = self.set_aside()
        suffix = f", the old file is {backup.name} beside it." if backup else "."
        self.notice = f"The settings file {why}: settings reset to defaults{suffix}"

    def set_aside(self) -> Path | None:
        """Reset all settings; return the path of a backup of the old file, None without one."""
        backup = None
        if self.path.is_file():
            backup = self.path.with_name(f"{self.path.name}.before-reset")
            try:
                write_files({backup: self.path.read_bytes()})
            except (OSError, HandvizError):
                backup = None
        self._file.clear()
        self._file.setValue(VERSION_KEY, LAYOUT_VERSION)
        self._file.sync()
        return backup

    def load(self) -> ViewSettings:
        """Return the saved settings; invalid values become the defaults."""
        settings = ViewSettings()
        for item in fields(ViewSettings):
            value = _checked(item.name, getattr(settings, item.name), self._saved(item.name))
            settings = replace(settings, **{item.name: value})
        return settings

    def _saved(self, name: str) -> Any:
        """Return what the file holds for a field, under its present or its former name; None for nothing."""
        saved = self._file.value(f"view/{name}")
        if saved is None and name in FORMER_KEYS:
            saved = self._file.value(f"view/{FORMER_KEYS[name]}")
        return FORMER_VALUES.get((name, str(saved)), saved)

    def save(self, settings: ViewSettings) -> None:
        """Save all settings."""
        for item in fields(ViewSettings):
            self._file.setValue(f"view/{item.name}", _written(getattr(settings, item.name)))
        self._file.sync()

    def text(self, name: str) -> str:
        """Return a saved text, empty if there is none."""
        return str(self._file.value(f"memory/{name}", "") or "")

    def save_text(self, name: str, text: str) -> None:
        """Save a text for the next run."""
        self._file.setValue(f"memory/{name}", text)
        self._file.sync()


def _written(value: Any) -> Any:
    if isinstance(value, CameraModel):
        return camera_model_text(value)
    if isinstance(value, HandSize):
        return hand_size_text(value)
    return str(value).lower() if isinstance(value, bool) else value


def _checked(name: str, default: Any, saved: Any) -> Any:
    if saved is None:
        return default
    text = str(saved)
    if isinstance(default, CameraModel | HandSize):
        try:
            return (camera_model_from_text if isinstance(default, CameraModel) else hand_size_from_text)(text)
        except HandvizError:
            return default
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text, default)
    if isinstance(default, float):
        low, high = LIMITS[name]
        try:
            number = float(text)
        except ValueError:
            return default
        return number if low <= number <= high else default
    return text if text in CHOICES[name] else default
