"""What every room stands on: records, geometry, cameras, Gaussians, metrics, files, errors."""
