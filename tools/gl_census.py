"""Count the OpenGL objects of a context by querying the driver, whoever created them."""

import ctypes

from PyQt6.QtGui import QOpenGLContext

KINDS = ("Buffer", "Texture", "Framebuffer", "Renderbuffer", "VertexArray", "Program", "Shader", "Query", "Sampler")
MAX_NAME = 4096
"""Drivers number objects from 1 and use free numbers again; what leaks climbs through them."""


def count_objects(context: QOpenGLContext) -> int:
    """Count objects of all kinds with numbers up to 4096 in this context, which must be current."""
    return sum(_count(context, kind) for kind in KINDS)


def _count(context: QOpenGLContext, kind: str) -> int:
    address = context.getProcAddress(f"glIs{kind}".encode())
    if address is None or int(address) == 0:
        return 0
    exists = ctypes.CFUNCTYPE(ctypes.c_ubyte, ctypes.c_uint)(int(address))
    return sum(1 for name in range(1, MAX_NAME + 1) if exists(name))
