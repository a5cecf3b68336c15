"""The page that inspects a folder."""
