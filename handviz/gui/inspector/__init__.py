"""Picked point, its attention, and the comparison of models."""
