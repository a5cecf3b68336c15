"""How often Python lets another thread run."""

SWITCH_INTERVAL_S = 0.001
"""How long a thread in Python may keep the others waiting; Python's own 5 ms add up in a paint of fifty calls."""
