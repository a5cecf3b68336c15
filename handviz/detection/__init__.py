"""Detection of hands in frames, and crops around them."""
