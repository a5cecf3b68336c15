"""From a crop to a smoothed mesh, live or for files; never loads torch."""
