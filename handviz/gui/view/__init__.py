"""The OpenGL viewport and what it shows."""
