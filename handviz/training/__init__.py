"""Losses, training and evaluation."""
