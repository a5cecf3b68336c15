"""Parts, theme and keys that every room of the window shares."""
