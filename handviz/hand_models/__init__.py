"""Hand models: the open hand that handviz ships, and the user's MANO file."""
