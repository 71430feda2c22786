"""Programs that receive DICOM over the network, in front of a nightly folder as docs/dicom.md puts them."""

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.documents import ROOT
from tests.support.world import free_port, wait_until

RECEIVERS = ROOT / "docs" / "receivers"


def find_program(name):
    """The program, or None; Debian installs servers where only root looks."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


@contextlib.contextmanager
def orthanc(folder, films):
    """Start Orthanc with the documented script; yields its DICOM port, and the address of its REST API."""
    dicom, http = free_port(), free_port()
    config = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [],
        "DicomPort": dicom,
        "HttpPort": http,
        "DicomAet": "ORTHANC",
        "LuaScripts": [str(RECEIVERS / "orthanc.lua")],
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    server = subprocess.Popen(
        [find_program("Orthanc"), str(folder / "orthanc.json")],
        env={**os.environ, "FILMS": str(films)},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "orthanc.log").open("wb"),
    )
    try:
        address = f"http://127.0.0.1:{http}"
        wait_until(lambda: _answers(f"{address}/system"), what="Orthanc")
        yield dicom, address
    finally:
        server.terminate()
        server.wait(20)


@contextlib.contextmanager
def storescp(films):
    """Start DCMTK's receiver by the documented command line, with other folders and another port; yields the port."""
    port = free_port()
    (command,) = re.findall(r"^storescp (?:.*\\\n)*.*$", (ROOT / "docs" / "dicom.md").read_text(), re.MULTILINE)
    (films / ".incoming").mkdir()
    command = command.replace("/srv/films", str(films)).replace(" 11112", f" {port}")
    server = subprocess.Popen(["sh", "-c", f"exec {command}"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: subprocess.run(["echoscu", "127.0.0.1", str(port)], check=False).returncode == 0)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def send(port, folder):
    """Send every file below a folder that DCMTK takes for DICOM, as a modality does."""
    # In one association it offers one way of compression.
    for offered in ("--propose-uncompr", "--propose-lossless", "--propose-j2k-lossless"):
        command = ["storescu", "-nh", "-aec", "ORTHANC", offered, "+sd", "+r", "127.0.0.1", str(port), str(folder)]
        subprocess.run(command, stderr=subprocess.DEVNULL, check=False, timeout=120)


def films_in(folder: Path):
    """The files that a listing sees."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _answers(address):
    with contextlib.suppress(URLError, OSError), urlopen(address, timeout=2) as answer:
        return answer.status == 200
    return False
