"""Drawing with OpenGL (moderngl); knows nothing of Qt."""
