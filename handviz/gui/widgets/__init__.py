"""Widgets, theme and shortcuts that all parts of the window share."""
