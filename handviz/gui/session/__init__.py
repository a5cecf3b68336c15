"""What runs behind the window: workers, controller, settings."""
