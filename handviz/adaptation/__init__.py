"""Adaptation of a network to a camera without labels."""
