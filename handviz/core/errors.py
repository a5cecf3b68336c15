"""The one error type whose text is meant for the person in front of the screen."""


class HandvizError(Exception):
    """Something from outside is not usable; the message says what, and what to do about it."""
