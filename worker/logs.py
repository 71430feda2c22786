"""Logs: one line an event on stderr, with ids and reason codes, never a name."""

import logging
import sys
import warnings
from typing import Final

_FORMAT: Final = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


def configure_logging(level: int = logging.INFO) -> None:
    """Send this process's log to stderr."""
    logging.basicConfig(stream=sys.stderr, level=level, format=_FORMAT, force=True)
    # Celery advises against root and announces its next major version at every start and reconnection.
    warnings.filterwarnings("ignore", module="celery")
    # Their notices about every connection and every received task say nothing that ours do not.
    for noisy in ("celery", "kombu", "botocore", "alembic", "celery.utils.functional"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
