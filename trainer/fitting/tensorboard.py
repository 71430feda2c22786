"""Writes the figures of each epoch for TensorBoard, whatever Keras' backend."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from db.errors import UserError
from db.home import persons_files
from trainer.console.optional_packages import check_installed
from trainer.console.progress import print_status
from trainer.fitting.history import Epoch


class LiveLog:
    """The log of a running fit. A full disk ends the log, not the fit."""

    def __init__(self, folder: Path | None, events: Any | None) -> None:
        """`events` is None where no log is wanted."""
        #: Whether the log lacks an epoch.
        self.is_incomplete = False
        self._folder, self._events = folder, events

    def write(self, epoch: Epoch) -> None:
        """Write an epoch's figures, unless an earlier one could not be written."""
        if self._events is None or self.is_incomplete:
            return
        try:
            _write_epoch(self._events, epoch)
        except OSError as error:
            self.is_incomplete = True
            print_status(f"--tensorboard {self._folder}: cannot be written ({error.strerror}); the fit continues")


@contextmanager
def live_log(folder: Path | None) -> Iterator[LiveLog]:
    """Open the log of a fit in this folder. A resumed fit adds to the figures that are in the folder.

    Raises:
        UserError: the folder cannot be written, or tensorboardX is not installed.
    """
    if folder is None:
        yield LiveLog(None, None)
        return
    with _open_events(folder) as events:
        yield LiveLog(folder, events)


def write_log(folder: Path, epochs: Iterable[Epoch]) -> None:
    """Write the log of a fit that has ended.

    Raises:
        UserError: see `live_log`.
        OSError: the disk is full.
    """
    with _open_events(folder) as events:
        for epoch in epochs:
            _write_epoch(events, epoch)


@contextmanager
def _open_events(folder: Path) -> Iterator[Any]:
    check_installed("--tensorboard", ["tensorboardX"])
    # Not its SummaryWriter, which leaves the writing to a thread and, once a full disk has ended that thread, waits for
    # it without end.
    from tensorboardX.event_file_writer import EventsWriter

    try:
        with persons_files():
            folder.mkdir(parents=True, exist_ok=True)
            events = EventsWriter(str(folder / "events"))
    except OSError as error:
        raise UserError(
            f"--tensorboard {folder}: cannot be written ({error.strerror}); choose a folder that can"
        ) from error
    try:
        yield events
    finally:
        with suppress(OSError):
            # Every epoch was flushed.
            events.close()


def _write_epoch(events: Any, epoch: Epoch) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import scalar

    for name, figure in epoch.as_row().items():
        if figure is not None and name != "epoch":
            events.write_event(Event(step=epoch.epoch, wall_time=time.time(), summary=scalar(name, figure)))
    events.flush()
