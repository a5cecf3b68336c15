"""GLSL programs (version 330: macOS ends at OpenGL 4.1) from the files beside this module."""

from pathlib import Path

import moderngl

SHADERS = Path(__file__).with_name("shaders")


def load_program(ctx: moderngl.Context, vertex: str, fragment: str | None = None) -> moderngl.Program:
    """Compile ``shaders/<vertex>.vert.glsl`` with ``shaders/<fragment or vertex>.frag.glsl``."""
    return ctx.program(
        vertex_shader=(SHADERS / f"{vertex}.vert.glsl").read_text(encoding="utf-8"),
        fragment_shader=(SHADERS / f"{fragment or vertex}.frag.glsl").read_text(encoding="utf-8"),
    )
