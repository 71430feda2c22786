"""Films that a modality sends to Orthanc or to DCMTK's storescp are scored by the next night, as the documents say."""

import json
import sys
from subprocess import run
from urllib.request import urlopen

import pytest

from tests.support.dicom_receivers import RECEIVERS, films_in, find_program, orthanc, send, storescp
from tests.support.world import EMBEDDED, dicom_artifact, radiograph, wait_until
from trainer.phantoms.dicom_file import dicom_file
from trainer.phantoms.generate import make_phantoms

#: What `trainer phantoms --dicom` draws beside the films, as far as a modality sends it: DCMTK sends no damaged file.
REJECTED = {"view", "for_processing", "secondary_capture", "burned_in", "body_part", "sop_class", "window"}

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("world", [EMBEDDED], indirect=True)]


@pytest.fixture(scope="session")
def sent(tmp_path_factory):
    """A folder of phantoms: all that is sent."""
    return make_phantoms(tmp_path_factory.mktemp("sent"), patients=2, seed=0, dicom=True, processes=1)


@pytest.fixture
def films(tmp_path):
    """The nightly folder. No package of pip brings the receivers, so their tests are skipped in CI too."""
    if not (find_program("Orthanc") and find_program("storescp")):
        pytest.skip("Orthanc and DCMTK are not installed (apt install orthanc dcmtk)")
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


def night(world, folder):
    """One night over a folder; gives its summary."""
    done = world.producer("nightly", "--now", "--json", "--images", folder, check=False)
    assert done.returncode in {0, 3}, done.stderr
    return json.loads(done.stdout)


def exported(world):
    return [json.loads(line) for line in world.producer("export", "--format", "json").stdout.splitlines()]


def attached_lines(address):
    """What Orthanc has as metadata of its instances."""
    for instance in json.loads(urlopen(f"{address}/instances").read()):
        metadata = f"{address}/instances/{instance}/metadata"
        if "1024" in json.loads(urlopen(metadata).read()):
            yield urlopen(f"{metadata}/1024").read().decode()


def test_orthanc_gives_each_film_to_the_night_and_takes_its_scores_back(world, films, sent, tmp_path):
    """A film that is sent twice is scored once, and its line of the export becomes metadata of its instance."""
    dicom_artifact(world.home / "models")
    world.worker()
    (tmp_path / "orthanc").mkdir()
    with orthanc(tmp_path / "orthanc", films) as (port, address):
        send(port, sent.images)
        wait_until(lambda: len(films_in(films)) >= sent.scans + len(REJECTED), what="the films")
        first = night(world, films)
        send(port, sent.images)
        second = night(world, films)
        lines = world.producer("export", "--format", "json").stdout
        command = [sys.executable, str(RECEIVERS / "to_orthanc.py"), address]
        done = run(command, input=lines, text=True, capture_output=True, check=True)
        attached = list(attached_lines(address))
    assert first["scored"] == sent.scans
    assert first["rejected"] == dict.fromkeys(REJECTED, 1)
    assert sum(first["left_out"].values()) == 1, "the Structured Report"
    assert (second["scored"], second["new_scans"]) == (sent.scans, 0)
    assert "does not have: 0" in done.stderr
    assert sorted(attached) == sorted(lines.splitlines(keepends=True))


def test_storescp_gives_each_film_to_the_night(world, films, sent):
    """By the command line of the documents, whose files appear complete, by a rename."""
    dicom_artifact(world.home / "models")
    world.worker()
    with storescp(films) as port:
        send(port, sent.images)
        wait_until(lambda: len(films_in(films)) >= sent.scans + len(REJECTED), what="the films")
        summary = night(world, films)
    assert (summary["scored"], summary["rejected"]["view"]) == (sent.scans, 1)
    assert not list((films / ".incoming").iterdir())


def test_a_film_that_was_half_written_one_night_is_scored_the_next(world, tmp_path):
    """Half a file is never scored; once it is whole it has another version, and is the same scan by its UID."""
    dicom_artifact(world.home / "models")
    world.worker()
    whole, path = dicom_file(radiograph(1), SOPInstanceUID="1.2.3"), tmp_path / "films" / "IM0001"
    path.parent.mkdir()
    path.write_bytes(whole[: len(whole) // 2])
    first = night(world, path.parent)
    path.write_bytes(whole)
    second = night(world, path.parent)
    assert (first["scored"], first["rejected_tonight"]) == (0, {"truncated": 1})
    assert (second["expected"], second["scored_tonight"], second["rejected"]) == (1, 1, {})
    assert [(line["sop_instance_uid"], line["revision"], line["state"]) for line in exported(world)] == [
        ("1.2.3", 2, "scored")
    ]
