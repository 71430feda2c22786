"""TensorBoard's logs of a fit: every figure of every epoch, whatever Keras' backend."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import UserError
from trainer.console.optional_packages import check_installed

if TYPE_CHECKING:
    from trainer.fitting.training_loop import Epoch


@contextmanager
def epochs_on_board(folder: Path | None) -> Iterator[Callable[["Epoch"], None]]:
    """Gives the function to tell an epoch to; without a folder it does nothing. A fit that goes on goes on there, too.

    Raises:
        UserError: the folder cannot be written, or tensorboardX is not installed.
    """
    if folder is None:
        yield lambda _: None
        return
    check_installed("--tensorboard", ["tensorboardX"])
    from tensorboardX import SummaryWriter

    try:
        writer = SummaryWriter(str(folder))
    except OSError as error:
        raise UserError(f"--tensorboard {folder}: cannot be written ({error.strerror})") from error

    def note(epoch: "Epoch") -> None:
        for name, figure in asdict(epoch).items():
            if figure is not None and name != "epoch":
                writer.add_scalar(name, figure, epoch.epoch)
        writer.flush()

    with writer:
        yield note
