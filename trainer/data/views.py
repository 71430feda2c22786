"""Names the views of a fit's scans, from the words of labels CSVs and of DICOM headers."""

from collections.abc import Iterable

from worker.dicom.header import named_view


def known_views(views: Iterable[str | None]) -> tuple[str, ...]:
    """The distinct views of some scans, as far as they are known, as `worker.dicom.header.named_view` names them."""
    return tuple(sorted({named for view in set(views) if (named := named_view(view or ""))}))
