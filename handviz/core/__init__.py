"""The base of all rooms: records, geometry, cameras, Gaussians, metrics, files, errors."""
