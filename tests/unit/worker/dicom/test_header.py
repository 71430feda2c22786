"""What is registered of a DICOM file's header, and what never is."""

from dataclasses import asdict
from datetime import date
from io import BytesIO

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from db.ledger.scans import ImageHeader
from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.header import read_header

UID = "1.2.826.0.1.3680043.8.498.1"
FILM = np.zeros((4, 4), np.uint16)


def header(*, syntax=ExplicitVRLittleEndian, preamble=True, **elements) -> ImageHeader:
    return read_header(dicom_file(FILM, syntax=syntax, preamble=preamble, **{"SOPInstanceUID": UID, **elements}))


def coded_view(code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "view"
    return item


def test_a_header_tells_what_is_registered_of_a_scan():
    """Each column of the ledger has its element."""
    told = {"PatientID": "00000013", "PatientSex": "F", "PatientAge": "060Y", "Manufacturer": "Agfa-Gevaert AG"}
    assert header(**told, StudyDate="20031208") == ImageHeader(
        sop_instance_uid=UID,
        patient_id="13",
        view="PA",
        sex="F",
        age_years=60,
        manufacturer="Agfa-Gevaert AG",
        transfer_syntax="1.2.840.10008.1.2.1",
        study_date=date(2003, 12, 8),
    )


def test_a_file_without_preamble_is_read_all_the_same():
    """Old archives write such files."""
    assert header(syntax=ImplicitVRLittleEndian, preamble=False, PatientID="5").patient_id == "5"


def test_no_name_birth_date_accession_number_or_free_text_is_read():
    """What identifies a patient outside the hospital is planted in all such elements, and appears nowhere."""
    planted = {
        "PatientName": "SECRET^ANNA",
        "PatientBirthDate": "19440101",
        "AccessionNumber": "SECRET1",
        "StudyDescription": "SECRET",
        "SeriesDescription": "SECRET",
        "ProtocolName": "SECRET",
        "InstitutionName": "SECRET",
        "ReferringPhysicianName": "SECRET^B",
        "OtherPatientIDs": "SECRET",
        "ImageComments": "SECRET",
        "PatientComments": "SECRET",
        "OperatorsName": "SECRET",
        "StationName": "SECRET",
        "ViewPosition": "SECRET",
        "Manufacturer": "SECRET^ANNA",
        "PatientSex": "SECRET",
        "StudyDate": "SECRET",
    }
    told = str(asdict(header(**planted, PatientID="7")))
    assert "SECRET" not in told
    assert "1944" not in told


@pytest.mark.parametrize(
    ("position", "view"),
    [
        *(("PA", "PA"), ("AP", "AP"), ("LL", "LATERAL"), ("RL", "LATERAL"), ("LLD", "DECUBITUS"), ("RLD", "DECUBITUS")),
        *(("LATERAL", "LATERAL"), ("pa", "PA"), ("PA ERECT", "PA"), ("LLO", "OBLIQUE"), ("AP/PA", None)),
        *(("", None), (None, None), ("CHEST", None), ("R LAT DECUB", "DECUBITUS"), ("AP DECUBITUS", None)),
    ],
)
def test_a_view_is_named_by_one_word_or_is_unknown(position, view):
    """A view that is not stated, or stated twice, is never taken for PA."""
    assert header(ViewPosition=position).view == view


@pytest.mark.parametrize(
    ("code", "view"), [("272479007", "PA"), ("399348003", "AP"), ("R-10236", "LATERAL"), ("T-D3000", None)]
)
def test_a_coded_view_counts_where_the_position_is_absent(code, view):
    """The code is that of DICOM's list of views, in either notation."""
    assert header(ViewPosition=None, ViewCodeSequence=[coded_view(code)]).view == view
    assert header(ViewPosition="AP", ViewCodeSequence=[coded_view(code)]).view == "AP"


@pytest.mark.parametrize(
    ("age", "years"),
    [("060Y", 60), ("013M", 13 / 12), ("002W", 14 / 365.25), ("81", 81), ("", None), ("60 years", None), ("Y", None)],
)
def test_an_age_is_read_with_its_unit(age, years):
    """A damaged age is unknown."""
    assert header(PatientAge=age).age_years == pytest.approx(years)


@pytest.mark.parametrize(
    ("element", "value", "field"),
    [
        ("PatientSex", "X", "sex"),
        ("StudyDate", "20030230", "study_date"),
        ("StudyDate", "2003", "study_date"),
        ("Manufacturer", "x" * 65, "manufacturer"),
        ("PatientID", "1.2E+11", "patient_id"),
        ("PatientID", "a\tb", "patient_id"),
        ("PatientID", " ", "patient_id"),
        *(("PatientID", word, "patient_id") for word in ("ANONYMOUS", "anon", "Unknown", "0", "000", "-", "N/A")),
        ("PatientID", "A\\1", "patient_id"),
        ("SOPInstanceUID", "1.2." + "3" * 61, "sop_instance_uid"),
        ("SOPInstanceUID", "1.2.x", "sop_instance_uid"),
    ],
)
def test_a_value_that_its_element_cannot_hold_counts_as_absent(element, value, field):
    """The other values of the file are read."""
    found = asdict(header(**{element: value}))
    assert found[field] is None
    assert found["view"] == "PA"


def test_the_patient_is_that_of_a_csv():
    """Leading zeros do not make another patient."""
    assert header(PatientID="00000013").patient_id == header(PatientID="13 ").patient_id == "13"


def test_an_id_in_another_alphabet_is_read_by_its_character_set():
    """Two patients do not become one because their letters cannot be decoded."""
    found = header(SpecificCharacterSet="ISO_IR 192", PatientID="Żółć-7")
    assert found.patient_id == "Żółć-7"


def test_many_megabytes_before_the_pixels_are_skipped():
    """Vendors put private elements there; of a file only what is needed is read."""
    film = dicom_file(FILM, SOPInstanceUID=UID, PatientID="5", EncapsulatedDocument=b"\0" * 2**23)
    file = _CountingFile(film)
    assert read_header(file).patient_id == "5"
    assert file.read_bytes < 100_000


class _CountingFile(BytesIO):
    read_bytes = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_an_unknown_type_without_a_length_is_no_header():
    """pydicom leaves such an element unread, and cannot convert it either."""
    uid = b"\x08\0\x18\0UI"
    encoded = dicom_file(FILM, SOPInstanceUID=UID)
    damaged = encoded.replace(uid + b"\x1c\0", b"\x08\0\x18\0U\0\0\0" + b"\xff" * 4)
    assert damaged != encoded
    assert read_header(damaged).sop_instance_uid is None
