"""The networks (PyTorch)."""
