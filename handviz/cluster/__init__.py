"""Shards of many images, each reconstructed by its own process: started by hand, by Slurm or by Ray."""
