"""Stub until helper b's file arrives."""

from sqlalchemy import Engine


class RunTables:
    """Stub."""

    def __init__(self, engine: Engine) -> None:
        """Stub."""
        self.engine = engine
