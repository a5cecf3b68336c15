"""moderngl in the context that Qt made, on every platform."""

import sys
from types import TracebackType
from typing import Any

import moderngl
from PyQt6.QtGui import QOpenGLContext

from handviz.core.errors import HandvizError

NO_OPENGL = "The graphics driver does not offer OpenGL 3.3 to this window: python -m handviz doctor says more."


SOFTWARE_HINTS = {
    "linux": "start it as 'LIBGL_ALWAYS_SOFTWARE=1 python app.py' to draw without the graphics card",
    "win32": "start it after 'set QT_OPENGL=software' to draw without the graphics card",
}


def broken_driver(error: Exception, platform: str = sys.platform) -> str:
    """What to say where the driver offers OpenGL and then fails at it: its first words, and how to do without it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =-")]
    said = lines[0][:120] if lines else type(error).__name__
    hint = SOFTWARE_HINTS.get(platform, "update the system, which brings its graphics driver")
    return (
        f"The graphics driver cannot draw this ({said}). Hands are still reconstructed and can be saved; to see them, "
        f"update the driver, or {hint}."
    )


class QtFunctions:
    """Finds OpenGL functions through Qt, so that GLX, EGL (Wayland), WGL and Cocoa need no separate code."""

    def __init__(self, context: QOpenGLContext) -> None:
        self._context = context

    def load_opengl_function(self, name: str) -> int:
        """The function's address, 0 if there is none."""
        address = self._context.getProcAddress(name.encode())
        return int(address) if address is not None else 0

    def __enter__(self) -> "QtFunctions":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Qt makes its contexts current itself."""

    def release(self) -> None:
        """Qt keeps the context."""


def moderngl_from(context: QOpenGLContext) -> moderngl.Context:
    """moderngl for Qt's context, which must be current; HandvizError if it is older than OpenGL 3.3."""
    settings: dict[str, Any] = {"context": QtFunctions(context)}
    try:
        return moderngl.create_context(require=330, **settings)
    except (ValueError, moderngl.Error) as error:
        raise HandvizError(NO_OPENGL) from error
