"""Recordings of sessions, animations made of them, and UDP streams."""
