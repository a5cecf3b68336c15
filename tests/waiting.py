"""Time limits of waits in tests: long enough for a machine that is busy with other work."""

LIMIT_S = 60.0
LIMIT_MS = 60_000
