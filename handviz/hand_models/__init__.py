"""Hand models: the open hand that handviz ships, and the door for a user's MANO file."""
