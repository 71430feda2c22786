"""Folders of DICOM in the ledger: what is registered, read again, asked and rejected."""

import os
from functools import partial

import numpy as np
import pytest
from sqlalchemy import select

import worker.storage.examination
import worker.storage.folder
from db.errors import UserError
from db.ledger.scans import known_instances
from db.schema.tables import Outcome, Scan
from producer.ingest.enqueue import enqueue
from producer.ingest.source import Source, read_source
from tests.support.world import hash_artifact
from trainer.phantoms.dicom_file import dicom_file
from worker.settings import WorkerSettings

FILM = np.zeros((8, 8), np.uint16)
SEEN = {"PatientSex": "F", "PatientAge": "060Y", "Manufacturer": "Agfa", "StudyDate": "20261103"}


def uid(number):
    return f"1.2.826.0.3.{number}"


class Site:
    """A ledger and a folder of films."""

    def __init__(self, engine, tmp_path):
        self.engine, self.root = engine, tmp_path / "films"
        self.settings = WorkerSettings(home=tmp_path / "home", broker_url="redis://127.0.0.1:1/0")
        hash_artifact(tmp_path / "home" / "models")
        for number in range(3):
            self.put(f"s{number}/IM1", number)

    def put(self, name, number, **header):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom_file(FILM, **{"SOPInstanceUID": uid(number), "PatientID": f"00{number + 1}", **header}))
        return path

    def csv(self, *lines):
        path = self.root.parent / "list.csv"
        path.write_text("\n".join(["Image Index,Finding Labels,Patient ID", *lines]))
        return path

    def enqueue(self, night=None, **source):
        return enqueue(self.settings, self.engine, Source(images=str(self.root), **source), lambda _: None, night=night)

    def scans(self, *columns):
        query = select(*(getattr(Scan, column) for column in ("image_name", *columns))).order_by(Scan.image_name)
        with self.engine.connect() as connection:
            return {row[0]: tuple(row[1:]) for row in connection.execute(query)}

    def outcomes(self):
        query = select(Scan.image_name, Outcome.state, Outcome.reason, Outcome.detail)
        with self.engine.connect() as connection:
            return {row[0]: row[1:] for row in connection.execute(query.join(Outcome, Outcome.scan_id == Scan.id))}


@pytest.fixture
def site(engine, tmp_path):
    return Site(engine, tmp_path)


def test_headers_are_registered_and_study_dates_only_on_request(site):
    """A film is named by its UID."""
    site.put("s0/IM1", 0, **SEEN)
    columns = ("patient_id", "view", "sex", "age_years", "manufacturer", "sop_instance_uid", "study_date")
    site.enqueue()
    assert site.scans(*columns)[uid(0)] == ("1", "PA", "F", 60.0, "Agfa", uid(0), None)
    site.enqueue(study_dates=True)
    assert str(site.scans("study_date")[uid(0)][0]) == "2026-11-03"


def test_the_second_enqueue_reads_only_new_and_changed_headers(site, monkeypatch):
    """And what the ledger knows of the others stays."""
    site.enqueue()
    opened = []
    real = worker.storage.examination.open_ranges
    monkeypatch.setattr(
        worker.storage.examination, "open_ranges", lambda path, version: (opened.append(path), real(path, version))[1]
    )
    new, changed = site.put("s3/IM1", 3), site.put("s1/IM1", 1, PatientSex="M")
    site.enqueue()
    assert set(opened) == {str(new), str(changed)}
    assert site.scans("patient_id", "sex")[uid(0)] == ("1", None)
    assert site.scans("patient_id", "sex")[uid(1)] == ("2", "M")
    with site.engine.connect() as connection:
        assert set(known_instances(connection, "films", with_study_date=False).values()) == {*map(uid, range(4))}
        assert known_instances(connection, "films", with_study_date=True) == {}
        assert known_instances(connection, "other", with_study_date=False) == {}


def test_two_films_of_one_uid_are_asked_by_day_and_rejected_by_night(site):
    """One bad pair does not end the night; no film is chosen."""
    one, other = site.root / "s0/IM1", site.put("s9/IM1", 0, PatientSex="F")
    with pytest.raises(UserError) as caught:
        site.enqueue()
    assert all(words in str(caught.value) for words in (uid(0), str(one), str(other), "remove one of them"))
    assert site.scans() == {}
    site.enqueue(night="a night")
    sentence = "the source has two different images with this SOP Instance UID; 'producer enqueue' names both"
    assert site.outcomes()[uid(0)] == ("rejected", "conflict", sentence)
    assert {state for state, _, _ in site.outcomes().values()} == {"rejected", "pending"}
    other.unlink()
    site.enqueue(night="the next night")
    assert site.outcomes()[uid(0)][0] == "pending"


def test_a_csv_of_files_gets_the_uids_and_what_it_does_not_say(site):
    """Labels are those of the CSV."""
    site.enqueue(csv=site.csv("s0/IM1,Mass,", f"{uid(1)},No Finding,2"), dataset="films")
    assert site.scans("patient_id") == {uid(0): ("1",), uid(1): ("2",)}


def test_a_csv_that_names_another_patient_than_the_header_is_asked_about_until_it_is_settled(site):
    """Whose film it is is not guessed."""
    source = {"csv": site.csv("s0/IM1,Mass,study-17", "s1/IM1,Mass,1"), "dataset": "films"}
    with pytest.raises(UserError, match=r"names patient '1' and the CSV patient 'study-17'.*--correct-patients"):
        site.enqueue(**source)
    site.enqueue(night="a night", **source)
    sentence = "the CSV names another patient for this scan than the image's header"
    assert site.outcomes()[uid(0)] == ("rejected", "conflict", sentence)
    assert site.scans("patient_id")[uid(0)] == (None,)
    site.enqueue(correct_patients=True, **source)
    assert site.scans("patient_id")[uid(0)] == ("study-17",)
    site.put("s0/IM1", 0, PatientSex="M")
    site.enqueue(**source)
    assert site.scans("patient_id", "sex")[uid(0)] == ("study-17", "M")


def test_a_folder_without_an_image_is_refused_and_says_what_is_there(tmp_path):
    """A person sees at once that the path is wrong."""
    (tmp_path / "report").write_bytes(b"%PDF-1.7")
    with pytest.raises(UserError, match=r"no image is here \(left out: 1 PDF document\)"):
        read_source(Source(images=str(tmp_path)))


def test_the_order_in_which_a_folder_is_listed_makes_no_other_source(tmp_path, monkeypatch):
    """Of three films with one UID two are named, whichever come first; an open run is joined all the same."""
    for name in "abc":
        (tmp_path / name).write_bytes(dicom_file(FILM, SOPInstanceUID=uid(1), StudyDescription=name))
    sources = set()
    for order in (sorted, partial(sorted, reverse=True)):
        by_name = partial(order, key=lambda entry: entry.name)
        monkeypatch.setattr(worker.storage.folder, "_entries", lambda folder, by=by_name: by(os.scandir(folder)))
        sources.add(read_source(Source(images=str(tmp_path))).sha256)
    assert len(sources) == 1
