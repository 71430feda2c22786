"""Logs: one line per event on stderr, with ids and reason codes, never a name."""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import Any, Final

from db.settings import load_settings
from worker.settings import WorkerSettings

_FORMAT: Final = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


def configure_logging(level: int = logging.INFO) -> None:
    """Send this process's log to stderr, as text or JSON as `CXR_LOG_FORMAT` says.

    Raises:
        UserError: `CXR_LOG_FORMAT` is neither `text` nor `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    as_json = load_settings(WorkerSettings).log_format == "json"
    handler.setFormatter(_JsonFormatter() if as_json else logging.Formatter(_FORMAT))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # At every start and reconnection Celery warns against running as root and announces its next major version.
    warnings.filterwarnings("ignore", module="celery")
    # They log every connection and every received task, which our own lines tell already.
    for noisy in ("celery", "kombu", "botocore", "alembic", "celery.utils.functional"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def about(**fields: object) -> dict[str, object]:
    """The fields of a JSON line: `logger.info(..., extra=about(run_id=7))`. Ids and codes, never a name."""
    return {"about": fields}


class _JsonFormatter(logging.Formatter):
    """One JSON object per line: time (ISO 8601, UTC), level, process, logger, message, and the fields of `about`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": record.process,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
