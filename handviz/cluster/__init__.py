"""A folder of any size, reconstructed by many processes of one machine or of a cluster (Ray Data)."""
