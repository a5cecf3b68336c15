"""The bench: datasets' own evaluation, on any predictor."""
