"""Measurements of the live program, for ``handviz benchmark``."""
