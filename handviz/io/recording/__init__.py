"""What leaves the running program: recordings, animations made of them, and a stream for other programs."""
