"""The texture network."""
