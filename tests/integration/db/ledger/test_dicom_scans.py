"""What a DICOM header says of a scan is stored, kept, and told apart from another film, on both databases."""

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import event, select

from db.labels.label_row import LabelRow
from db.ledger.scans import FoundImage, ImageHeader, find_conflicts, register_scans
from db.schema.tables import Scan

UID = "1.2.840.113619.2.5.1762583153.215519.978957063.78"
HEADER = ImageHeader(
    sop_instance_uid=UID,
    patient_id="13",
    view="PA",
    sex="F",
    age_years=60.5,
    manufacturer="FUJIFILM Corporation",
    transfer_syntax="1.2.840.10008.1.2.4.70",
    study_date=date(2026, 11, 27),
)
IMAGE = FoundImage(location="/pacs/IM0001", version="stat:1-2", header=HEADER)


def row(header=HEADER):
    """A row that no CSV names, with what the header says."""
    return LabelRow(
        image_name=UID,
        findings=(),
        patient_id=header.patient_id,
        view=header.view,
        sex=header.sex,
        age_years=header.age_years,
        follow_up=None,
    )


@pytest.fixture
def registered(engine):
    """A ledger that knows the scan."""
    register(engine)
    return engine


def register(engine, image=IMAGE):
    with engine.begin() as connection:
        return register_scans(connection, "pacs", [row(image.header or HEADER)], {UID: image})[UID]


def conflicts(engine, image, **settled):
    with engine.begin() as connection:
        rows = [row(image.header)]
        return find_conflicts(connection, "pacs", rows, {UID: image}, **({"moved": {}} | settled)).get(UID)


def stored(engine):
    columns = (Scan.sop_instance_uid, Scan.manufacturer, Scan.transfer_syntax, Scan.study_date)
    with engine.connect() as connection:
        return tuple(connection.execute(select(Scan.location, Scan.patient_id, Scan.view, *columns)).one())


def test_a_header_is_stored_with_its_types(registered):
    """A date is a date on both databases."""
    about = ("FUJIFILM Corporation", "1.2.840.10008.1.2.4.70", date(2026, 11, 27))
    assert stored(registered) == ("/pacs/IM0001", "13", "PA", UID, *about)


def test_a_later_listing_adds_and_corrects_but_never_empties(registered):
    """A listing without headers, or without study dates, takes nothing away."""
    before = stored(registered)
    scan = register(registered, FoundImage(location=IMAGE.location))
    bare = ImageHeader(sop_instance_uid=UID)
    assert register(registered, replace(IMAGE, header=bare)) == scan
    assert stored(registered) == before
    again = replace(HEADER, transfer_syntax="1.2.840.10008.1.2.1", view=None)
    register(registered, replace(IMAGE, header=again))
    assert stored(registered) == (*before[:5], "1.2.840.10008.1.2.1", before[6])


def test_one_uid_of_two_patients_or_of_two_films_is_a_conflict(registered):
    """A copy of the same film elsewhere, and what a person settled, are none."""
    other_patient = replace(IMAGE, header=replace(HEADER, patient_id="14"))
    assert conflicts(registered, other_patient).patients == ("13", "14")
    assert conflicts(registered, other_patient, correct_patients=True) is None
    elsewhere = replace(IMAGE, location="/pacs/other/IM0007")
    assert conflicts(registered, elsewhere).locations == ("/pacs/IM0001", "/pacs/other/IM0007")
    assert conflicts(registered, elsewhere, moved={UID: "/pacs/IM0001"}) is None
    assert conflicts(registered, replace(IMAGE, header=replace(HEADER, patient_id=None))) is None


def test_registering_nothing_asks_nothing(registered):
    """An enqueue without contradictions does not read a dataset of a million names a second time."""
    statements = []
    with registered.begin() as connection:
        event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        assert register_scans(connection, "pacs", [], {}) == {}
    assert statements == []
