"""Studies, measurements, and builders of committed files: `python -m tools.NAME`, from a clone; not installed."""
