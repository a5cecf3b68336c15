"""Recording, streaming and pictures of the view."""
