"""handviz: a hand in an image becomes a posed mesh with a standard deviation for every vertex."""

__version__ = "0.1.0"
