"""Writes the figures of each epoch for TensorBoard, whatever Keras' backend."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from db.errors import UserError
from db.home import persons_files
from trainer.console.optional_packages import check_installed
from trainer.fitting.history import Epoch


@contextmanager
def tensorboard_writer(folder: Path | None) -> Iterator[Callable[[Epoch], None]]:
    """Yields a function that writes an epoch's figures; without a folder it does nothing.

    A resumed fit adds to the figures that are in the folder.

    Raises:
        UserError: the folder cannot be written, or tensorboardX is not installed.
    """
    if folder is None:
        yield lambda _: None
        return
    check_installed("--tensorboard", ["tensorboardX"])
    from tensorboardX import SummaryWriter

    try:
        # The constructor makes the folder and the file.
        with persons_files():
            writer = SummaryWriter(str(folder))
    except OSError as error:
        raise UserError(
            f"--tensorboard {folder}: cannot be written ({error.strerror}); choose a folder that can"
        ) from error

    def write_epoch(epoch: Epoch) -> None:
        for name, figure in epoch.as_row().items():
            if figure is not None and name != "epoch":
                writer.add_scalar(name, figure, epoch.epoch)
        writer.flush()

    with writer:
        yield write_epoch
