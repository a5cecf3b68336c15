"""Dark and light theme, chosen by the system or the user."""

from dataclasses import dataclass
from pathlib import Path
from string import Template

from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QPalette
from PyQt6.QtWidgets import QApplication

from handviz.gui.session.settings import ThemeSetting


@dataclass(frozen=True)
class ThemeColours:
    """Colours of all but the viewport, which is dark in both themes."""

    window: str
    panel: str
    field: str
    button: str
    button_hover: str
    button_pressed: str
    edge: str
    edge_hover: str
    split: str
    text: str
    faint: str
    disabled: str
    accent: str
    on_accent: str
    checked: str
    error_ground: str
    error_text: str
    error_edge: str


DARK = ThemeColours(
    window="#171a1f",
    panel="#1b1f25",
    field="#101317",
    button="#262b33",
    button_hover="#2e353f",
    button_pressed="#1f242b",
    edge="#333a44",
    edge_hover="#59636f",
    split="#2a3038",
    text="#dfe3e8",
    faint="#97a1ad",
    disabled="#6a737e",
    accent="#35b8a6",
    on_accent="#07120f",
    checked="#1f4a45",
    error_ground="#3c1c14",
    error_text="#ffd9c7",
    error_edge="#b4593a",
)
LIGHT = ThemeColours(
    window="#e9ecef",
    panel="#f5f6f8",
    field="#ffffff",
    button="#ffffff",
    button_hover="#eef3f4",
    button_pressed="#dde3e6",
    edge="#c3cad1",
    edge_hover="#8e99a4",
    split="#d9dee3",
    text="#1b2127",
    faint="#56616c",
    disabled="#8b959f",
    accent="#0f7f72",
    on_accent="#ffffff",
    checked="#c6e7e2",
    error_ground="#fff0e8",
    error_text="#6b2410",
    error_edge="#c9623d",
)
MARKS = Path(__file__).parent / "marks"
"""Images of what a style sheet cannot draw: the tick of a check box, the arrow of a list."""
STYLE = Template("""
QWidget { font-size: 12px; }
QFrame#panel, QScrollArea, QScrollArea > QWidget > QWidget { background: $panel; }
QScrollArea { border: none; }
QFrame#group { border-bottom: 1px solid $split; padding-bottom: 8px; }
QFrame#timeline { background: $panel; border-top: 1px solid $split; }
QToolButton#heading { color: $faint; font-size: 11px; font-weight: 600; background: transparent; border: none;
    padding: 3px 0; }
QToolButton#heading:hover, QToolButton#heading:focus { color: $text; }
QLabel#faint, QLabel#key { color: $faint; }
QLabel#key { font-size: 11px; }
QLabel#title { font-size: 17px; font-weight: 600; }
QLabel#number { font-family: monospace; }
QLabel#banner, QLabel#toast { background: $error_ground; color: $error_text; border: 1px solid $error_edge;
    border-radius: 5px; padding: 9px 12px; }
QLabel#saved_toast { background: $panel; color: $text; border: 1px solid $edge_hover; border-radius: 5px;
    padding: 9px 12px; }
QLabel#note { color: #e6eaef; background: rgba(20, 24, 30, 150); border-radius: 4px; padding: 2px 8px;
    font-size: 11px; }
QLabel#invitation { color: #97a1ad; font-size: 15px; background: transparent; }
QFrame#card { background: $panel; border: 1px solid $edge_hover; border-radius: 8px; }
QPushButton, QToolButton { background: $button; border: 1px solid $edge; border-radius: 4px; padding: 5px 10px; }
QPushButton:hover, QToolButton:hover { background: $button_hover; border-color: $edge_hover; }
QPushButton:pressed, QToolButton:pressed { background: $button_pressed; }
QPushButton:disabled, QToolButton:disabled { color: $disabled; background: $panel; border-color: $split; }
QPushButton:focus, QToolButton:focus { border-color: $accent; }
QPushButton:checked { background: $checked; border-color: $accent; }
QToolButton { padding: 4px; }
QToolButton:checked { background: $checked; border-color: $accent; }
QToolButton#heading:checked { background: transparent; }
QComboBox, QSpinBox, QDoubleSpinBox, QLineEdit { background: $field; border: 1px solid $edge; border-radius: 4px;
    padding: 4px 6px; min-height: 18px; }
QComboBox:focus, QSpinBox:focus, QDoubleSpinBox:focus, QLineEdit:focus { border-color: $accent; }
QComboBox:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QLineEdit:disabled { color: $disabled;
    border-color: $split; }
QComboBox { combobox-popup: 0; }
QComboBox::drop-down { border: none; width: 18px; }
QComboBox::down-arrow { image: url("$marks/arrow.svg"); width: 12px; height: 12px; }
QComboBox QAbstractItemView { background: $field; color: $text; border: 1px solid $edge;
    selection-background-color: $accent; selection-color: $on_accent; }
QPlainTextEdit, QTableView, QListView, QTextBrowser { background: $field; border: 1px solid $edge; }
QHeaderView::section { background: $button; color: $faint; border: none; border-right: 1px solid $split;
    border-bottom: 1px solid $split; padding: 4px 6px; }
QProgressBar { background: $field; border: 1px solid $edge; border-radius: 4px; text-align: center; }
QProgressBar::chunk { background: $checked; }
QSlider:focus { border: 1px solid $accent; border-radius: 4px; }
QSlider::groove:horizontal { height: 4px; background: $edge; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::handle:horizontal { background: $text; width: 12px; height: 12px; margin: -4px 0; border-radius: 6px; }
QSlider::sub-page:horizontal:disabled { background: $edge; }
QSlider::handle:horizontal:disabled { background: $disabled; }
QStatusBar { background: $window; border-top: 1px solid $split; color: $faint; }
QStatusBar::item { border: none; }
QRadioButton:focus, QCheckBox:focus { color: $accent; }
QRadioButton::indicator, QCheckBox::indicator { width: 12px; height: 12px; border: 1px solid $edge_hover;
    background: $field; }
QRadioButton::indicator { border-radius: 7px; }
QCheckBox::indicator { border-radius: 3px; }
QRadioButton::indicator:hover, QCheckBox::indicator:hover { border-color: $accent; }
QRadioButton::indicator:checked, QCheckBox::indicator:checked { border-color: $accent;
    background: qradialgradient(cx: 0.5, cy: 0.5, radius: 0.5, fx: 0.5, fy: 0.5,
    stop: 0 $accent, stop: 0.62 $accent, stop: 0.72 $field, stop: 1 $field); }
QCheckBox::indicator:checked { background: $accent; image: url("$marks/$tick.svg"); }
QCheckBox::indicator:checked:disabled { background: $disabled; border-color: $disabled; }
QScrollBar:vertical { background: $panel; width: 9px; }
QScrollBar::handle:vertical { background: $edge; border-radius: 4px; min-height: 24px; }
QScrollBar::handle:vertical:hover { background: $edge_hover; }
QScrollBar::add-line, QScrollBar::sub-line { height: 0; }
QToolTip { background: $button; color: $text; border: 1px solid $edge_hover; padding: 3px; }
""")


def palette_of(colours: ThemeColours) -> QPalette:
    """Return the palette for what the style sheet does not cover."""
    role = QPalette.ColorRole
    of_role = {
        role.Window: colours.window,
        role.WindowText: colours.text,
        role.Base: colours.field,
        role.AlternateBase: colours.panel,
        role.Text: colours.text,
        role.PlaceholderText: colours.faint,
        role.Button: colours.button,
        role.ButtonText: colours.text,
        role.BrightText: colours.text,
        role.Highlight: colours.accent,
        role.HighlightedText: colours.on_accent,
        role.ToolTipBase: colours.button,
        role.ToolTipText: colours.text,
        role.Link: colours.accent,
    }
    palette = QPalette()
    for name, colour in of_role.items():
        palette.setColor(name, QColor(colour))
    for name in (role.Text, role.WindowText, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, name, QColor(colours.disabled))
    return palette


class Theme(QObject):
    """Theme of the whole program; follows the system unless the user chooses."""

    changed = pyqtSignal()
    """other colours are in use"""

    def __init__(self, application: QApplication) -> None:
        super().__init__()
        self._application = application
        self._choice: ThemeSetting = "system"
        self.colours = DARK
        application.setStyle("Fusion")
        hints = application.styleHints()
        assert hints is not None
        self._hints = hints
        hints.colorSchemeChanged.connect(lambda _: self._apply())
        self._apply()

    def choose(self, choice: ThemeSetting) -> None:
        """Use dark or light, or follow the system."""
        if choice != self._choice:
            self._choice = choice
            self._apply()

    def _apply(self) -> None:
        follows_light = self._choice == "system" and self._hints.colorScheme() == Qt.ColorScheme.Light
        self.colours = LIGHT if self._choice == "light" or follows_light else DARK
        self._application.setPalette(palette_of(self.colours))
        tick = "tick_light" if self.colours is LIGHT else "tick_dark"
        self._application.setStyleSheet(STYLE.substitute(vars(self.colours), marks=MARKS.as_posix(), tick=tick))
        self.changed.emit()
