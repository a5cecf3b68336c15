"""Readers of public datasets, as they lie on their users' disks."""
