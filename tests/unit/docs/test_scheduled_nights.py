"""The systemd units and the crontab line of the documentation start what there is, and treat its exit codes as said."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import EXIT_REJECTS
from producer.nightly.settings import NightlySettings

DOCS = Path(__file__).parents[3] / "docs"
UNITS = sorted((DOCS / "systemd").glob("nightread-*"))
#: Where the units expect the programs.
BIN = "/opt/nightread/.venv/bin/"


def lines_of(name):
    return (DOCS / "systemd" / name).read_text().splitlines()


def executed(name):
    """The words of a unit's ExecStart, without the folder."""
    (line,) = [line for line in lines_of(name) if line.startswith("ExecStart=")]
    return line.removeprefix(f"ExecStart={BIN}").split()


@pytest.mark.parametrize("credentials", [False, True], ids=["as they are", "with secrets in files"])
def test_systemd_takes_the_units(tmp_path, short_folder, credentials):
    """`systemd-analyze verify` finds nothing, also in the lines that a person may uncomment."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # A path without spaces, which the checkout's may have.
    (short_folder / "bin").symlink_to(Path(sys.executable).parent)
    for unit in UNITS:
        text = unit.read_text().replace(BIN, f"{short_folder}/bin/")
        if credentials:
            text = re.sub(r"^#(?=LoadCredential=|Environment=)", "", text, flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_start_commands_that_exist(tmp_path):
    """Their flags are known: the night misses only its source, and the worker only prints its help."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CXR_")}
    environment |= {"CXR_HOME": str(tmp_path), "PYTHONPATH": str(DOCS.parent)}
    night, worker = executed("nightread-nightly.service"), executed("nightread-worker.service")
    for (program, *words), code, sentence in ((night, 2, "nothing to score"), ([*worker, "--help"], 0, "--gpus")):
        done = subprocess.run(
            [sys.executable, "-m", f"{program}.cli", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, sentence in done.stdout + done.stderr) == (code, True), done.stderr


def test_new_rejects_do_not_make_the_unit_fail_and_secrets_are_on_no_command_line():
    """Exit code 3 is a success there; every variable that a unit names is a setting, and secrets come from files."""
    assert f"SuccessExitStatus={EXIT_REJECTS}" in lines_of("nightread-nightly.service")
    assert executed("nightread-nightly.service") == ["producer", "nightly", "--now"]
    named = set(re.findall(r"^#?Environment=CXR_(\w+?)(?:_FILE)?=", "\n".join(lines_of(UNITS[0].name)), re.MULTILINE))
    assert named <= {field.upper() for field in NightlySettings.model_fields}


def test_worker_and_night_share_home_and_socket():
    """Otherwise the night would not find the embedded broker of the worker, or would delete its folder."""
    shared = ("StateDirectory", "RuntimeDirectory", "Environment=CXR_HOME", "Environment=XDG", "User=", "UMask=")
    night, worker = (
        [line for line in lines_of(f"nightread-{name}.service") if line.startswith(shared)]
        for name in ("nightly", "worker")
    )
    assert night == worker
    assert "RuntimeDirectoryPreserve=yes" in night


@pytest.mark.parametrize(("code", "mail"), [(0, ""), (3, "the summary\n"), (4, "the summary\n")])
def test_crons_line_prints_only_after_a_night_that_did_not_exit_with_0(tmp_path, code, mail):
    """cron mails what a line prints; the variables of the file reach the command, with quotes and an ampersand."""
    if shutil.which("flock") is None:
        pytest.skip("flock is not installed")
    (line,) = re.findall(r"^0 2 \* \* \* nightread (.*)$", (DOCS / "operations.md").read_text(), re.MULTILINE)
    assert "%" not in line, "cron would end the command there"
    (tmp_path / "nightread.env").write_text("CXR_WEBHOOK_URL='https://h/hook?a=1&b=2'\n")
    (tmp_path / "producer").write_text(
        f'#!/bin/sh\necho "$CXR_WEBHOOK_URL $*" > {tmp_path}/seen\necho "the summary"\nexit {code}\n'
    )
    (tmp_path / "producer").chmod(0o755)
    for folder in (BIN, "/etc/nightread/", "/var/lib/nightread/"):
        line = line.replace(folder, f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, mail, "")
    assert (tmp_path / "seen").read_text() == "https://h/hook?a=1&b=2 nightly --now\n"
