"""GLSL programs (version 330: macOS ends at OpenGL 4.1) from the files beside this module."""

from pathlib import Path

import moderngl

SHADERS = Path(__file__).with_name("shaders")


def load_program(
    ctx: moderngl.Context, vertex: str, fragment: str | None = None, *, define: str | tuple[str, ...] | None = None
) -> moderngl.Program:
    """Compile ``shaders/<vertex>.vert.glsl`` with ``shaders/<fragment or vertex>.frag.glsl`` and these macros."""
    return ctx.program(
        vertex_shader=_source(f"{vertex}.vert.glsl", define),
        fragment_shader=_source(f"{fragment or vertex}.frag.glsl", define),
    )


def _source(name: str, define: str | tuple[str, ...] | None) -> str:
    words = (define,) if isinstance(define, str) else define or ()
    version, rest = (SHADERS / name).read_text(encoding="utf-8").split("\n", 1)
    return "\n".join([version, *(f"#define {word}" for word in words), rest])
