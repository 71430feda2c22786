"""Of a DICOM header's names, dates, numbers and texts nothing gets into the ledger, the broker, a log, page or file.

Every film of the folder has them planted, also in elements that are used, and some are damaged so that a parser would
quote them.
"""

import base64
import re
import urllib.request
import warnings
from io import BytesIO

import pydicom
import pytest
from pyarrow import parquet
from pydicom.uid import BasicTextSRStorage, SecondaryCaptureImageStorage

from tests.support.event_capture import EventCapture
from tests.support.notification_servers import webhook
from tests.support.world import EMBEDDED, dicom_artifact, free_port, radiograph, wait_until
from trainer.phantoms.dicom_file import dicom_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("world", [EMBEDDED], indirect=True),
]

#: What a film must never leave behind, in any spelling of it.
PLANTED = re.compile(rb"canary|1901-?02-?03", re.IGNORECASE)
BIRTH_DATE = "19010203"
#: Elements that name somebody or something, or that hold text which people type.
TYPED = (
    *("PatientName", "OtherPatientIDs", "PatientComments", "PatientAddress", "ReferringPhysicianName", "StudyID"),
    *("AccessionNumber", "StudyDescription", "SeriesDescription", "InstitutionName", "InstitutionAddress"),
    *("OperatorsName", "StationName", "RequestingPhysician", "ImageComments", "ProtocolName", "ManufacturerModelName"),
    *("DetectorDescription", "WindowCenterWidthExplanation", "RequestedProcedureDescription", "AcquisitionDeviceID"),
)
#: Stands where an element is to hold `CANARY...`, which its type does not allow.
DIGITS = b"123456789012"
CANARY = b"CANARY-VALUE"


def film(number, **header):
    """A film of which every text is planted, also in private elements."""
    planted = {keyword: f"CANARY {keyword}"[:16] for keyword in TYPED if pydicom.datadict.tag_for_keyword(keyword)}
    about = {"SOPInstanceUID": f"1.2.826.{number}", "PatientID": f"P{number}", "PatientBirthDate": BIRTH_DATE}
    window = {"WindowCenter": 120, "WindowWidth": 200}
    with warnings.catch_warnings():
        # Some values are not what the standard allows.
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(BytesIO(dicom_file(radiograph(number), **{**planted, **about, **window, **header})))
        private = dataset.private_block(0x0009, "CANARY MAKER", create=True)
        private.add_new(1, "LO", "CANARY PRIVATE")
        written = BytesIO()
        dataset.save_as(written)
    return written.getvalue()


def spoilt(number, keyword):
    """A film with text where an element is to hold a number, a date or a UID."""
    found = film(number, **{keyword: DIGITS.decode()})
    assert DIGITS in found
    return found.replace(DIGITS, CANARY)


def changed(number, before, after):
    """A film of which some bytes are others."""
    found = film(number)
    assert found.count(before)
    return found.replace(before, after)


#: By file: the content, and what becomes of it; None where it is no scan.
FILMS = {
    "IM01": (film(1), "scored"),
    "IM02": (film(2, ViewPosition=None), "scored"),
    "IM03": (film(3, ViewPosition="CANARY VIEW", PatientSex="CANARY", Manufacturer="CANARY^MAKER"), "scored"),
    "IM04": (film(4, ViewPosition="LL"), "view"),
    "IM05": (film(5, PresentationIntentType="FOR PROCESSING"), "for_processing"),
    "IM06": (film(6, BodyPartExamined="CANARY BODY"), "body_part"),
    "IM07": (film(7, BurnedInAnnotation="YES"), "burned_in"),
    "IM08": (film(8, SOPClassUID=SecondaryCaptureImageStorage), "secondary_capture"),
    "IM09": (film(9)[:-1000], "truncated"),
    "IM10": (film(10).partition(b"CANARY PatientNa")[0] + b"CANARY", "truncated"),
    # A name that reaches beyond the end of the file, and one of a type that does not exist.
    "IM11": (changed(11, b"\x10\0\x10\0PN\x10\0", b"\x10\0\x10\0PN\xff\xff"), "truncated"),
    "IM12": (changed(12, b"\x10\0\x10\0PN", b"\x10\0\x10\0QQ"), None),
    "IM13": (spoilt(13, "WindowCenter"), None),
    "IM14": (spoilt(14, "RescaleSlope"), None),
    "IM15": (spoilt(15, "NumberOfFrames"), None),
    "IM16": (film(16, SpecificCharacterSet="CANARY_SET"), None),
    "IM17": (changed(17, b"1.2.840.10008.1.2.1\0", b"1.2.CANARY.10.1.2.1\0"), None),
    "IM18": (film(18, SOPClassUID="1.2.CANARY.3"), None),
    "IM19": (film(19, SOPInstanceUID="1.2.CANARY.3"), None),
    "IM20": (film(20, PhotometricInterpretation="CANARY"), "unsupported"),
    "IM21": (film(21, Modality="CANARY", PresentationLUTShape="CANARY", LossyImageCompression="CANARY"), "scored"),
    "SR01": (film(22, SOPClassUID=BasicTextSRStorage), "left out"),
    "notes.txt": (b"CANARY^JANE was here", "left out"),
}


@pytest.fixture
def folder(world, tmp_path):
    """The films, and a model that was fitted on frontal films."""
    images = tmp_path / "images"
    images.mkdir()
    for name, (content, _) in FILMS.items():
        assert PLANTED.search(content)
        (images / name).write_bytes(content)
    dicom_artifact(world.home / "models")
    world.env |= {"CXR_LOG_FORMAT": "json", "CXR_EVENTS": "true", "CXR_PIXEL_CACHE_GB": "1"}
    world.env["CXR_METRICS_PORT"] = str(free_port())
    return images


def test_no_planted_text_leaves_the_films(world, folder, tmp_path):
    """Two runs, with all that reads them: status, failures, report, exports, summary, metrics and events."""
    found, said = {}, {}

    def say(*arguments):
        done = world.producer(*arguments, check=False)
        assert done.returncode in (0, 3), done.stderr
        assert "Traceback" not in done.stderr
        said[" ".join(map(str, arguments))] = (done.stdout + done.stderr).encode()

    say("enqueue", "--images", folder, "--study-date", "--dry-run")
    say("enqueue", "--images", folder, "--study-date")
    monitor = EventCapture(lambda: world.broker)
    worker = world.worker()
    unfinished = "SELECT count(*) FROM runs WHERE finished_at IS NULL"
    wait_until(lambda: world.rows(unfinished) == [(0,)], 90, f"the run's end\n{world.logs()}")
    monitor.stop()
    becomes = {
        row[0].rpartition("/")[2]: row[1:] for row in world.rows("SELECT location, state, reason FROM results_wide")
    }
    pinned = {name: end for name, (_, end) in FILMS.items() if end not in {None, "left out"}}
    assert {name: reason or state for name, (state, reason) in becomes.items() if name in pinned} == pinned
    # Every film was decided, and the report and the text file were left out.
    assert becomes.keys() == {name for name, (_, end) in FILMS.items() if end != "left out"}
    page = urllib.request.urlopen(f"http://127.0.0.1:{world.env['CXR_METRICS_PORT']}/metrics", timeout=5).read()
    assert b'reason="view"' in page
    (folder / "IM30").write_bytes(film(30))
    with webhook() as server:
        world.env["CXR_WEBHOOK_URL"] = server.url
        say("nightly", "--images", folder, "--now", "--json")
        ((*_, sent),) = server.taken
    for command in ("status", "failures", "report"):
        say(command)
        say(command, "--json")
    assert b"view_unknown" in said["status"]
    assert b"dicom_without_image" in said["report --json"]
    for kind in ("csv", "parquet", "json"):
        say("export", "--wide", "--format", kind, "--out", tmp_path / f"out.{kind}")
    found = {f"{path} while it runs": path.read_bytes() for path in world.home.rglob("*") if path.is_file()}
    assert any(name.endswith("-wal while it runs") for name in found)
    assert worker.poll() is None
    world.stop()
    found |= {
        str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and folder not in path.parents
    }
    found |= said | {"events": "\n".join(monitor.heard).encode(), "metrics": page, "webhook": sent}
    # Its columns are compressed.
    found["parquet"] = repr(parquet.read_table(tmp_path / "out.parquet").to_pylist()).encode()
    leaks = {name: _leak(content) for name, content in found.items() if _leak(content)}
    assert leaks == {}


def _leak(content):
    """What was planted, as it is or in a message of the broker, with what stands around it."""
    words = re.findall(rb"[A-Za-z0-9+/]{100,}", content)
    decoded = b"".join(base64.b64decode(word[: len(word) // 4 * 4]) for word in words)
    places = (
        part[max(0, hit.start() - 60) : hit.end() + 60] for part in (content, decoded) for hit in PLANTED.finditer(part)
    )
    return next(places, None)
