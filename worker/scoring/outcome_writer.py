"""The one way from a batch to the ledger: which scans still wait, write, trip the breaker, close the run."""

from collections.abc import Sequence


def _named(runs: Sequence[int]) -> str:
    return f"run {', '.join(map(str, runs))}" if runs else "no open run"
