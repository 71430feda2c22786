"""A fake clock."""


class Clock:
    """A clock that stands still until a test changes `now` (seconds)."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now
