"""The run that every night is compared with, if one is named: whether it can be."""

from typing import Final

from sqlalchemy import Connection

from db.errors import UserError
from db.ledger.models import find_model
from db.ledger.runs import find_run

_FLAG: Final = "--reference or CXR_DRIFT_REFERENCE"


def check_reference(connection: Connection, reference: int, model: str | None) -> None:
    """Check before the first night that nights can be compared with a run; `read_drift` checks it for each night.

    Args:
        connection: to the ledger.
        reference: the run.
        model: name or hash of the nights' model; None means the active one.

    Raises:
        UserError: there is no such run, or it is of another model.
    """
    try:
        run = find_run(connection, reference)
    except UserError as error:
        raise UserError(f"{_FLAG}: there is no run {reference}; 'producer runs' lists them") from error
    try:
        wanted = find_model(connection, model)
    except UserError:
        # It is registered when a night is opened, and may be published by then.
        return
    if run.model_sha256 != wanted.sha256:
        raise UserError(
            f"{_FLAG}: run {reference} is of model {run.model}, and the nights are of {wanted.name}; "
            f"name a run of {wanted.name}"
        )
