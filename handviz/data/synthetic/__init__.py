"""Hands that handviz renders itself."""
