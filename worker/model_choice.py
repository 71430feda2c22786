"""Which model a worker that follows the fleet serves next."""

from collections.abc import Sequence


def choose_model(current: str | None, active: str | None, with_work: Sequence[str]) -> str | None:
    """The model to serve: what is begun is finished, then the active one's work is done, then anybody's.

    So a newly activated model waits for the runs that were opened before, and no model's work is stranded
    when another one is activated or the former one again.

    Args:
        current: sha256 of the model that is served now, None where none is.
        active: the one of the next runs; None where there is none that could be served.
        with_work: those that could be served and have pending scans, in the order in which they are to be helped.

    Returns:
        Its sha256; None where no model is there.
    """
    if current in with_work:
        return current
    if active in with_work or not with_work:
        return active or current
    return with_work[0]
