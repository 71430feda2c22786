"""Whatever happens after the last epoch, the model is published, and the same command makes what is missing."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from db.errors import UserError
from trainer.cli import app
from trainer.data.training_data import Source
from trainer.fitting.fit import FitOptions, fit
from trainer.recipe import make_recipe
from worker.artifacts.artifact import load_artifact
from worker.artifacts.exports import read_format
from worker.artifacts.model_store import FolderModelStore

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
TINY = {"encoder": "densenet37", "size": 32, "epochs": 1, "batch_size": 8}
DOCUMENTS = ("evaluation.json", "MODEL_CARD.md", "curves.png")
#: What a fit calls after its last epoch, in this order.
STEPS = (
    "trainer.fitting.fit.build_published_model",
    "trainer.fitting.fit.write_artifact",
    "trainer.fitting.checkpoint.CheckpointFile.remove",
    "trainer.fitting.finish.export_for_workers",
    "trainer.fitting.finish.score_and_evaluate",
    "trainer.fitting.finish.render_model_card",
    "trainer.fitting.finish.draw_curves",
    "trainer.fitting.finish.draw_contact_sheet",
)
#: The index of the first step after the publication.
PUBLISHED = 2


class Died(BaseException):
    """Ends a fit at once, as a signal does."""


def die(*_, **__):
    raise Died


def fill_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def again(phantoms, home):
    """The command of one fit, to be given again and again."""
    options = FitOptions(models=FolderModelStore(home / "models"), scratch=home / "trainer", tensorboard=home / "log")
    return lambda: fit("one", Source(csv=phantoms), make_recipe("best", **TINY), options)


@pytest.fixture(scope="module")
def fitted(again, home):
    """The result of the command that died at every step; notes the models that there were after each death."""
    published = []
    for step in STEPS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step, die)
            with pytest.raises(Died):
                again()
        published.append(sorted(path.name for path in (home / "models").glob("*")))
    fitted = again()
    assert published[:PUBLISHED] == [[]] * PUBLISHED
    assert published[PUBLISHED:] == [[fitted.artifact.sha256[:12]]] * (len(STEPS) - PUBLISHED)
    return fitted


def test_a_fit_that_dies_at_any_step_is_finished_by_the_same_command(fitted, home):
    """There is one model, which never changed, and everything belongs to it."""
    artifact = load_artifact(fitted.artifact.folder)
    assert (artifact.sha256, fitted.missing) == (fitted.artifact.sha256, ())
    assert all((artifact.folder / name).stat().st_size for name in DOCUMENTS)
    assert json.loads((artifact.folder / "evaluation.json").read_text())["of"]["model_sha256"] == artifact.sha256
    assert read_format(artifact, "openvino")
    assert fitted.contact_sheet.read_bytes().startswith(b"\x89PNG")
    assert list((home / "log").glob("events*"))
    assert not list((home / "trainer" / "fits").iterdir())


@pytest.mark.variant
def test_a_fit_that_is_killed_right_after_publishing_is_finished_by_the_same_command(home, phantoms, monkeypatch):
    """It ends with 0, the model is the same, and the card and the sheet are there."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    command = ["fit", "--csv", str(phantoms), "--name", "killed", "--no-export", *flags]
    environment = {**os.environ, "CXR_HOME": str(home), "CXR_MODEL_DIR": str(home / "killed")}
    process = subprocess.Popen([sys.executable, "-m", "trainer.cli", *command], env=environment, cwd=ROOT)
    while not (published := list((home / "killed").glob("[0-9a-f]*/manifest.json"))):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (manifest,) = published
    assert not (manifest.parent / "MODEL_CARD.md").exists()
    before = manifest.read_bytes()
    for name in ("CXR_HOME", "CXR_MODEL_DIR"):
        monkeypatch.setenv(name, environment[name])
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
    assert "model killed is published already; making what is missing beside it" in done.stderr
    assert manifest.read_bytes() == before
    assert list((home / "killed").glob("[0-9a-f]*/manifest.json")) == published
    assert all((manifest.parent / name).stat().st_size for name in DOCUMENTS)
    assert (home / "trainer" / "disagreements" / "killed.png").stat().st_size
    assert not (home / "trainer" / "fits" / "killed.npz").exists()
    assert load_artifact(manifest.parent).manifest.synthetic
    assert (manifest.parent / "MODEL_CARD.md").read_text().splitlines()[2].startswith("**This model was fitted on syn")


def test_a_part_that_fails_costs_no_other_part(fitted, again, monkeypatch):
    """The result names it with its cause, and the same command makes it."""
    before = (fitted.artifact.folder / "MODEL_CARD.md").read_bytes()
    for name in DOCUMENTS:
        (fitted.artifact.folder / name).unlink()
    with monkeypatch.context() as patch:
        patch.setattr("trainer.fitting.finish.score_and_evaluate", fill_disk)
        incomplete = again()
    assert incomplete.missing == (
        "evaluation.json (OSError: No space left on device)",
        "MODEL_CARD.md (it shows the evaluation)",
    )
    assert (incomplete.evaluation, incomplete.artifact.sha256) == (None, fitted.artifact.sha256)
    assert (fitted.artifact.folder / "curves.png").exists()
    assert again().missing == ()
    assert (fitted.artifact.folder / "MODEL_CARD.md").read_bytes() == before


def test_the_command_says_what_is_missing_in_one_sentence(fitted, home, phantoms, monkeypatch):
    """Its exit code tells it from a fit that made everything."""
    (fitted.artifact.folder / "curves.png").unlink()
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    command = ["fit", "--csv", str(phantoms), "--name", "one", *flags]
    monkeypatch.setenv("CXR_HOME", str(home))
    with monkeypatch.context() as patch:
        patch.setattr("trainer.fitting.finish.draw_curves", fill_disk)
        done = CliRunner().invoke(app, command)
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1] == (
        "incomplete: model one is published and usable, but lacks curves.png (OSError: No space left on device);"
        " the same command makes the rest"
    )
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (fitted.artifact.folder / "curves.png").exists()


def test_another_recipe_csv_or_image_is_another_fit(fitted, home, phantoms, tmp_path):
    """The name is taken for it."""
    options = FitOptions(models=FolderModelStore(home / "models"), scratch=tmp_path)
    folder = Path(shutil.copytree(phantoms.parent, tmp_path / "copy"))
    image = next((folder / "images").iterdir())
    shutil.copy(next(path for path in (folder / "images").iterdir() if path != image), image)
    csv = Path(shutil.copy(phantoms, tmp_path / phantoms.name))
    csv.write_text(csv.read_text().replace("PA", "AP"))
    recipe, taken = (
        make_recipe("best", **TINY),
        rf"--name 'one' already belongs to artifact {fitted.artifact.sha256[:12]}",
    )
    for source, other in (
        (Source(csv=phantoms), recipe.model_copy(update={"seed": 1})),
        (Source(csv=csv, images=str(phantoms.parent / "images")), recipe),
        (Source(csv=folder / phantoms.name), recipe),
    ):
        with pytest.raises(UserError, match=taken):
            fit("one", source, other, options)
