"""Shards of many images, each reconstructed by a process of its own: by hand, by Slurm or by Ray."""
