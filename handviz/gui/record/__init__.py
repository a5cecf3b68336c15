"""Recording, streaming and images of the view."""
