"""A fake, for time."""


class Clock:
    """Stands still until a test moves `now`, in seconds."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now
