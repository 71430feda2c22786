"""The script that prepares a host for compose keeps what is there, and leaves nothing that git tracks."""

import shutil
import subprocess
from pathlib import Path

DOCKER = Path(__file__).parents[3] / "docker"


def prepare(folder):
    subprocess.run(["sh", folder / "secrets.sh"], check=True, stdout=subprocess.DEVNULL)
    return {path.name: path.read_text() for path in [folder / ".env", *(folder / "secrets").iterdir()]}


def test_a_host_gets_settings_and_secrets_of_its_own_once(tmp_path):
    """The example becomes `.env`; a second call changes neither the host's settings nor its passwords."""
    for name in ("secrets.sh", ".env.example"):
        shutil.copy(DOCKER / name, tmp_path)
    assert prepare(tmp_path)[".env"] == (DOCKER / ".env.example").read_text()
    (tmp_path / ".env").write_text("WORKERS=3\n")
    before = prepare(tmp_path)
    assert before[".env"] == "WORKERS=3\n"
    assert prepare(tmp_path) == before


def test_git_ignores_the_settings_and_secrets_of_a_host():
    """An operator's changes never meet those of an update."""
    assert {"docker/.env", "docker/secrets/"} <= {*(DOCKER.parent / ".gitignore").read_text().splitlines()}
