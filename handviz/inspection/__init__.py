"""Folders looked through: stored rows, columns, reports, exports."""
