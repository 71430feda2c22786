"""TensorBoard logs have the figures of every epoch."""

import os
import resource
import stat
import time

import pytest
import tensorflow as tf

from db.errors import UserError
from db.home import command_process
from trainer.fitting.history import Epoch
from trainer.fitting.tensorboard import live_log, write_log


def epoch(number, auroc):
    return Epoch(
        epoch=number,
        loss=1 / number,
        accuracy=0.5,
        validation_loss=0.7,
        validation_accuracy=0.6,
        validation_auroc=auroc,
        validation_mean_auroc=None,
        seconds=3.0,
        images_per_second=100.0,
    )


def read(folder):
    """(epoch, name) to figure, of every file in a folder."""
    events = [event for path in folder.iterdir() for event in tf.compat.v1.train.summary_iterator(str(path))]
    return {(event.step, value.tag): value.simple_value for event in events for value in event.summary.value}


def test_every_figure_of_every_epoch_is_there(tmp_path):
    """Undefined figures are left out, and a resumed fit adds to the folder."""
    for numbers in ((1, 2), (3,)):
        with live_log(tmp_path) as log:
            for number in numbers:
                log.write(epoch(number, 0.7 if number > 1 else None))
        # A file is named after the second in which it is created.
        time.sleep(1.1)
    found = read(tmp_path)
    assert [found[number, "loss"] for number in (1, 2, 3)] == pytest.approx([1, 1 / 2, 1 / 3])
    assert {step for step, name in found if name == "watched_auroc"} == {2, 3}
    assert {name for _, name in found} == {
        *("loss", "accuracy", "watched_loss", "watched_accuracy", "watched_auroc", "seconds", "images_per_second")
    }


def test_the_logs_are_as_open_as_the_persons_other_files(tmp_path):
    """A colleague's TensorBoard may read them, although what a command keeps for itself is private."""
    before = os.umask(0o022)
    with command_process(), live_log(tmp_path / "new"):
        pass
    os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {0o755, 0o644}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    """Before the fit starts."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"--tensorboard .*file: cannot be written"),
        live_log(tmp_path / "file"),
    ):
        pass


def test_a_full_disk_ends_the_log_and_not_the_fit(tmp_path, capsys):
    """It is said once, and the whole log can be written later."""
    epochs = [epoch(number, 0.5) for number in range(1, 101)]
    with live_log(tmp_path) as log:
        for one in epochs[:90]:
            log.write(one)
        (written,) = tmp_path.iterdir()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (written.stat().st_size + 100, limits[1]))
        try:
            for one in epochs[90:]:
                log.write(one)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.is_incomplete
    assert capsys.readouterr().err.count("cannot be written (File too large); the fit continues") == 1
    write_log(tmp_path / "whole", epochs)
    assert {step for step, _ in read(tmp_path / "whole")} == set(range(1, 101))


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    """The package is not needed then."""
    monkeypatch.chdir(tmp_path)
    with live_log(None) as log:
        log.write(epoch(1, 0.5))
    assert not log.is_incomplete
    assert not list(tmp_path.iterdir())
