"""Keras is imported with its own defaults, whatever other programs keep in its home folder."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HOSTILE = '{"backend": "jax", "floatx": "float16", "epsilon": 0.5, "image_data_format": "channels_first"}'
DEFAULTS = "tensorflow float32 float32 1e-07 channels_last"
SHOW = """
from worker.artifacts.keras_import import keras
config = keras.config
print(config.backend(), config.floatx(), config.dtype_policy().name, config.epsilon(), config.image_data_format())
"""


def run(code, **environment):
    """Run Python code in a process of its own, with these environment variables besides the test's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("content", [HOSTILE, "[]"])
def test_a_foreign_keras_json_changes_nothing(tmp_path, content):
    """Neither valid settings nor a damaged file do."""
    (tmp_path / "keras.json").write_text(content)
    done = run(SHOW, KERAS_HOME=str(tmp_path))
    assert (done.returncode, done.stdout.strip()) == (0, DEFAULTS), done.stderr[-500:]


def test_the_import_writes_nothing_to_the_home_folder(tmp_path):
    """Neither `keras.json` nor the fonts of matplotlib, which Keras imports."""
    assert run(SHOW, HOME=str(tmp_path)).stdout.strip() == DEFAULTS
    assert not list(tmp_path.iterdir())


def test_an_unreadable_keras_json_does_not_matter(tmp_path):
    """A folder in its place cannot be read by root either."""
    (tmp_path / ".keras" / "keras.json").mkdir(parents=True)
    assert run(SHOW, HOME=str(tmp_path)).stdout.strip() == DEFAULTS


def test_keras_downloads_to_its_own_folder(tmp_path):
    """Weights that lie there already are found without a network."""
    code = """
from worker.artifacts.keras_import import keras, set_download_folder
set_download_folder(); print(keras.utils.get_file("weights", "http://127.0.0.1:9/", cache_subdir="models"))
"""
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "weights").write_text("weights")
    done = run(code, KERAS_HOME=str(tmp_path / "home"))
    assert done.stdout.splitlines()[-1:] == [str(tmp_path / "home" / "models" / "weights")], done.stderr[-500:]


def test_an_unknown_backend_is_one_sentence():
    """It is found out before Keras is imported."""
    code = """
from db.errors import UserError
try:
    import worker.artifacts.keras_import
except UserError as error:
    print(error)
"""
    assert run(code, KERAS_BACKEND="torch").stdout.strip() == (
        "KERAS_BACKEND is 'torch'; set it to tensorflow or jax, or unset it"
    )
