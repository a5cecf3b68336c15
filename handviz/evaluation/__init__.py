"""Evaluation of any predictor on datasets and rendered crops, by the datasets' own measures."""
