"""Recordings, streams, screenshots and animations."""
