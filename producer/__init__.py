"""The `producer` command: registers scans, sends those that are due, follows runs, reports. It never loads a model.

In Python, `from producer import Ledger` reads what the command wrote.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer.ledger import Ledger

__all__ = ["Ledger"]


def __getattr__(name: str) -> object:
    """Import `Ledger` only if somebody asks for it: pandas takes half a second, and no command needs it."""
    if name != "Ledger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from producer.ledger import Ledger
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise ImportError("producer.Ledger needs pandas: pip install 'nightread[pandas]'", name="pandas") from error
    return Ledger
