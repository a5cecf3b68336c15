"""Damaged files for every reader of files from elsewhere: see ``tools.fuzz``."""
