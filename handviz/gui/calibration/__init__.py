"""Camera intrinsics and hand size."""
