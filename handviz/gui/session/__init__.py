"""Workers, controller and settings of the window."""
