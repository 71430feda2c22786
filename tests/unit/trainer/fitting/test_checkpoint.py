"""A fit resumes only from a checkpoint whose pixels are its own."""

from dataclasses import replace

import pytest

from db.errors import UserError
from trainer.fitting.checkpoint import PIXELS, Checkpoint, CheckpointFile

CHECKPOINT = Checkpoint(variables=[], best=[], history=[{"epoch": 1}])


@pytest.fixture
def file(tmp_path):
    return CheckpointFile(path=tmp_path / "fit.npz", inputs={"seed": 0, PIXELS: [2, 2]})


def test_a_fit_of_the_same_pixels_resumes(file):
    """With what it had."""
    file.write(CHECKPOINT)
    assert file.read() == CHECKPOINT


@pytest.mark.parametrize("inputs", [{"seed": 0}, {"seed": 0, PIXELS: [2, 1]}, {"seed": 0, PIXELS: [1, 2]}], ids=str)
def test_a_fit_that_an_older_version_began_does_not_resume(file, inputs):
    """It would learn half of its epochs from other pixels; checkpoints of before pixel rules name none."""
    replace(file, inputs=inputs).write(CHECKPOINT)
    with pytest.raises(UserError, match="begun by a version of nightread that makes other pixels; finish it with that"):
        file.read()
