"""The Celery shell around `worker.scoring.process`. Celery's parent imports it too and must never load TensorFlow."""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from billiard.common import TERM_SIGNAL
from celery import Task
from celery.exceptions import Reject
from celery.signals import setup_logging, worker_process_init

from db.errors import DatabaseUnavailable, OutOfDeviceMemory, TemporaryError, UserError
from db.settings import load_settings
from worker.messaging.celery_app import make_app
from worker.messaging.messages import TASK
from worker.processes import die_with_parent
from worker.settings import LEDGER_VARIABLE, MODEL_VARIABLE, STATUS_VARIABLE, WorkerSettings
from worker.supervision.restart_policy import pause_before_load
from worker.telemetry.counters import ScoringCounters
from worker.telemetry.logs import configure_logging

settings = load_settings(WorkerSettings)
app = make_app(settings, os.environ.get(LEDGER_VARIABLE, ""))
logger = logging.getLogger(__name__)
_parent = os.getppid()
_scoring_process: Any = None


@setup_logging.connect
def _log_our_way(**_: object) -> None:
    configure_logging()


@worker_process_init.connect
def _load_model(**_: object) -> None:
    """Load and warm the model before the first task.

    Celery swallows an exception here and would give tasks to a process without a model; and it replaces a process that
    exits without end. So a process that cannot load says why and ends its parent too; the supervisor decides.
    """
    global _scoring_process  # noqa: PLW0603 -- a pool process has no other place to keep its model
    configure_logging()
    # An orphan would keep the GPU for a model that gets no work.
    if (ask := die_with_parent(signal.SIGKILL)) is not None:
        ask()
    counters = ScoringCounters(_status_file(), os.environ[MODEL_VARIABLE])
    # The parent replaces a dead process at once, without end.
    time.sleep(pause_before_load(counters.deaths))
    try:
        from worker.scoring.process import ScoringProcess

        _scoring_process = ScoringProcess(app, settings, os.environ[MODEL_VARIABLE], counters)
        logger.info("model %s loaded: %s", os.environ[MODEL_VARIABLE][:12], _scoring_process.runtime)
    except DatabaseUnavailable as error:
        logger.warning("database unavailable, so the model is loaded later: %s", error)
        counters.excused()
        _end_parent()
    except (MemoryError, OutOfDeviceMemory) as error:
        # Another program may have it and release it: the load is tried again after growing pauses, as after any death.
        logger.error("no memory for the model yet (%s); trying again", error)
        _end_parent()
    except UserError as error:
        logger.error("the model cannot be loaded: %s", error)
        counters.failed(str(error))
        _end_parent()
    except BaseException as error:
        logger.exception("the model cannot be loaded")
        counters.failed(str(error) or type(error).__name__)
        _end_parent()


@app.task(name=TASK, bind=True)
def score_chunk_task(self: "Task[Any, Any]", message: object) -> None:
    """Handle one delivery; see `worker.scoring.process.ScoringProcess.handle`."""
    redelivered = bool((self.request.delivery_info or {}).get("redelivered"))
    try:
        with _terminated_at_once():
            _scoring_process.handle(message, redelivered=redelivered)
    except OutOfDeviceMemory as error:
        # In good order: the chunk is back in the queue, and this delivery is acknowledged first.
        logger.error("%s; this worker ends and is started again", error)
        os.kill(_parent, signal.SIGTERM)
    except TemporaryError as error:
        # Not acknowledged, not counted as a failure: the queue keeps it.
        raise Reject(error, requeue=True) from error
    except MemoryError as error:
        # A MemoryError would end Celery's parent too, and the chunk would come again though its halves were sent.
        raise RuntimeError("not enough memory for this chunk") from error


@contextmanager
def _terminated_at_once() -> Iterator[None]:
    """Let the parent's signal end this process without waiting for its threads.

    Celery's parent sends it when the soft shutdown is over: SIGQUIT, to which the supervisor remaps SIGTERM. The
    handler of billiard raises SystemExit, which would wait for a thread that hangs in its device, and keep the
    chunk from the peers.
    """
    former = signal.signal(TERM_SIGNAL, lambda number, _: os._exit(128 + number))
    try:
        yield
    finally:
        signal.signal(TERM_SIGNAL, former)


def _end_parent() -> None:
    # If the parent is gone already, another process has adopted this one.
    if os.getppid() == _parent:
        os.kill(_parent, signal.SIGKILL)
    sys.exit(1)


def _status_file() -> Path | None:
    path = os.environ.get(STATUS_VARIABLE)
    return Path(path) if path else None
