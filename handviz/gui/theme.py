"""The dark look."""

from PyQt6.QtGui import QColor, QPalette
from PyQt6.QtWidgets import QApplication

ACCENT = "#35b8a6"
PALETTE = {
    QPalette.ColorRole.Window: "#171a1f",
    QPalette.ColorRole.WindowText: "#dfe3e8",
    QPalette.ColorRole.Base: "#101317",
    QPalette.ColorRole.AlternateBase: "#1c2026",
    QPalette.ColorRole.Text: "#dfe3e8",
    QPalette.ColorRole.PlaceholderText: "#7d8792",
    QPalette.ColorRole.Button: "#252a31",
    QPalette.ColorRole.ButtonText: "#dfe3e8",
    QPalette.ColorRole.BrightText: "#ffffff",
    QPalette.ColorRole.Highlight: ACCENT,
    QPalette.ColorRole.HighlightedText: "#07120f",
    QPalette.ColorRole.ToolTipBase: "#252a31",
    QPalette.ColorRole.ToolTipText: "#dfe3e8",
    QPalette.ColorRole.Link: ACCENT,
}
STYLE = f"""
QWidget {{ font-size: 12px; }}
QFrame#panel {{ background: #1b1f25; }}
QFrame#timeline {{ background: #1b1f25; border-top: 1px solid #0c0e11; }}
QFrame#group {{ border-bottom: 1px solid #2a3038; padding-bottom: 8px; }}
QToolButton#heading {{ color: #8c96a3; font-size: 11px; font-weight: 600; background: transparent; border: none;
    padding: 3px 0; }}
QToolButton#heading:hover, QToolButton#heading:focus {{ color: #dfe3e8; }}
QLabel#faint, QLabel#key {{ color: #8c96a3; }}
QLabel#key {{ font-size: 11px; }}
QLabel#number {{ font-family: monospace; }}
QLabel#banner {{ background: rgba(60, 28, 20, 235); color: #ffd9c7; border: 1px solid #b4593a;
    border-radius: 5px; padding: 9px 12px; }}
QLabel#invitation {{ color: #8c96a3; font-size: 15px; background: transparent; }}
QPushButton, QToolButton {{ background: #262b33; border: 1px solid #333a44; border-radius: 4px;
    padding: 5px 10px; }}
QPushButton:hover, QToolButton:hover {{ background: #2e353f; border-color: #46505d; }}
QPushButton:pressed, QToolButton:pressed {{ background: #1f242b; }}
QPushButton:disabled, QToolButton:disabled {{ color: #59616b; background: #1e2228; border-color: #282d34; }}
QToolButton {{ padding: 4px; }}
QToolButton:checked {{ background: #1f4a45; border-color: {ACCENT}; }}
QComboBox, QDoubleSpinBox {{ background: #101317; border: 1px solid #333a44; border-radius: 4px;
    padding: 4px 6px; min-height: 18px; }}
QComboBox:focus, QDoubleSpinBox:focus {{ border-color: {ACCENT}; }}
QDoubleSpinBox:disabled {{ color: #59616b; border-color: #282d34; }}
QComboBox QAbstractItemView {{ background: #101317; border: 1px solid #333a44; }}
QSlider::groove:horizontal {{ height: 4px; background: #303741; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {ACCENT}; border-radius: 2px; }}
QSlider::handle:horizontal {{ background: #e6eaee; width: 12px; height: 12px; margin: -4px 0;
    border-radius: 6px; }}
QSlider::sub-page:horizontal:disabled {{ background: #303741; }}
QSlider::handle:horizontal:disabled {{ background: #59616b; }}
QStatusBar {{ background: #131519; border-top: 1px solid #0c0e11; color: #aab3bd; }}
QStatusBar::item {{ border: none; }}
QRadioButton::indicator, QCheckBox::indicator {{ width: 12px; height: 12px; border: 1px solid #59636f;
    background: #101317; }}
QRadioButton::indicator {{ border-radius: 7px; }}
QCheckBox::indicator {{ border-radius: 3px; }}
QRadioButton::indicator:hover, QCheckBox::indicator:hover {{ border-color: {ACCENT}; }}
QRadioButton::indicator:checked, QCheckBox::indicator:checked {{ border-color: {ACCENT};
    background: qradialgradient(cx: 0.5, cy: 0.5, radius: 0.5, fx: 0.5, fy: 0.5,
    stop: 0 {ACCENT}, stop: 0.62 {ACCENT}, stop: 0.72 #101317, stop: 1 #101317); }}
QCheckBox::indicator:checked {{ background: {ACCENT}; }}
QScrollArea {{ border: none; background: #1b1f25; }}
QScrollArea > QWidget > QWidget {{ background: #1b1f25; }}
QScrollBar:vertical {{ background: #1b1f25; width: 8px; }}
QScrollBar::handle:vertical {{ background: #363d47; border-radius: 4px; min-height: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
"""


def apply_theme(application: QApplication) -> None:
    """Fusion in dark colours, the same on every system."""
    application.setStyle("Fusion")
    palette = QPalette()
    for role, colour in PALETTE.items():
        palette.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.WindowText, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor("#59616b"))
    application.setPalette(palette)
    application.setStyleSheet(STYLE)
