"""Words a count with its noun: `1 scan`, `1,234 scans`."""


def counted(count: int, noun: str) -> str:
    """The count and the noun, with an `s` unless the count is 1."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
