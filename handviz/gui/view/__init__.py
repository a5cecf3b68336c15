"""OpenGL viewport, and the panel of its settings."""
