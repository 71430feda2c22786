"""Names the views of a fit's scans, from the words of labels CSVs and of DICOM headers."""

from collections.abc import Iterable

from worker.dicom.header import named_view


def known_views(views: Iterable[str | None]) -> tuple[str, ...]:
    """The distinct views of some scans, as `worker.dicom.header.named_view` names them; () if any is unknown.

    A model is one of frontal views only if it is known that it has seen no other.
    """
    named = {named_view(view or "") for view in set(views)}
    return tuple(sorted(view for view in named if view)) if None not in named else ()
