"""What a picked point says, its attention, and the networks side by side."""
