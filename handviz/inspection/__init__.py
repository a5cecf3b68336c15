"""Inspection of folders: stored rows, columns, reports, exports."""
