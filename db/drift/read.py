"""Reads the scans of nights from SQL, and judges nights."""

from sqlalchemy import Connection

from db.drift.night import NightDrift


def read_drift(connection: Connection, run_id: int, *, reference: int | None = None) -> tuple[NightDrift, ...]:
    """Judge a night and the nights before it, at most `REFERENCE_NIGHTS` in all; the given one is the last.

    They are the nights of the same job under the same model. A night's scans are those that its run decided itself; a
    run that is no night, given as night or as reference, counts with all its scans.

    Args:
        connection: a `read_transaction`.
        run_id: the night's run. Of a run that is no night, the tuple has that one alone, and without a reference it
            is empty.
        reference: the run to compare each of them with; None means the `REFERENCE_NIGHTS` nights before each.

    Raises:
        UserError: there is no such run, or the reference is of another model.
    """
    raise NotImplementedError
