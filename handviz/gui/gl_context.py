"""moderngl in the context that Qt made, on every platform."""

from types import TracebackType
from typing import Any

import moderngl
from PyQt6.QtGui import QOpenGLContext

from handviz.errors import HandvizError

NO_OPENGL = "The graphics driver does not offer OpenGL 3.3 to this window: python -m handviz doctor says more."


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
