"""The page of a scan over HTTP, on a small ledger with real images."""

import hashlib
from http import HTTPStatus

import cv2
import numpy as np
import pytest
from sqlalchemy import text

from db.close_run import close_finished_runs
from db.engine.session import open_database
from db.labels.csv_file import LabelRow, LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.models import register_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Scored, pending_of_run, record_outcomes
from db.ledger.scans import FoundImage, ImageHeader, register_scans
from tests.support.browse_server import browse_server
from tests.support.world import radiograph

HOSTILE = '"><script>alert(1)</script>.png'
NAMES = (HOSTILE, "second.png", "third.png", "without.png")
#: Their ids, in the order of the list of `Abnormal`.
FIRST, SECOND, THIRD, MISSING = 1, 2, 3, 4
SCORES = ((0.9, 0.75), (0.8, 0.25), (0.7, 0.5))
MANIFEST = {
    "name": "small",
    "dataset": "films",
    "findings": ["Abnormal", "Effusion"],
    "thresholds": {"Effusion": {"best_f1": 0.5, "youden": 0.25}},
    "preprocessing": {"height": 32, "width": 48},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder of the ledger, with the films in `films/`."""
    home = tmp_path_factory.mktemp("home")
    (home / "films").mkdir()
    for number in range(3):
        cv2.imwrite(str(home / "films" / f"{number}.png"), radiograph(number))
    fill(home)
    return home


@pytest.fixture(scope="module")
def server(home):
    with browse_server(f"sqlite:///{home / 'nightread.sqlite'}", home, reviewer="ada") as server:
        yield server


def fill(home):
    """One run of four scans: three of patient 77, and one without a patient or an image."""
    engine = open_database(f"sqlite:///{home / 'nightread.sqlite'}")
    rows = tuple(row(name, number) for number, name in enumerate(NAMES))
    header = ImageHeader(sop_instance_uid="1.2.3", manufacturer="Maker <b>")
    found = {
        name: FoundImage(location=str(home / "films" / f"{number}.png"), header=header if number == 2 else None)
        for number, name in enumerate(NAMES[:3])
    }
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        model = register_model(connection, sha256="d" * 64, manifest=MANIFEST, used=())
        ids = register_scans(connection, "films", rows, found)
        file = LabelsFile(path=home / "films.csv", sha256="a" * 64, dataset="films", rows=rows)
        request = RunRequest(
            source="films.csv",
            sha256="a" * 64,
            dataset="films",
            model_id=model.id,
            label_set_id=import_labels(connection, file, rows, ids, "films"),
            options={},
        )
        run, _ = open_run(connection, request, list(ids.values()))
        record_outcomes(connection, [outcome(home, scan) for scan in pending_of_run(connection, run)])
    close_finished_runs(engine)
    engine.dispose()


def row(name, number):
    about = {"view": "PA", "sex": "F", "age_years": 61.0 + number}
    patient = {"patient_id": "77", "follow_up": 2 - number} if number < 3 else {"patient_id": None, "follow_up": None}
    findings = () if number == 2 else ("Effusion",)
    uncertain = {0: ("Mass",), 2: ("Effusion",)}.get(number, ())
    return LabelRow(image_name=name, findings=findings, uncertain=uncertain, **about, **patient)


def outcome(home, scan):
    number = scan.outcome_id - 1
    content = "sha256:" + hashlib.sha256((home / "films" / f"{number}.png").read_bytes()).hexdigest()
    scores = dict(zip(MANIFEST["findings"], SCORES[number], strict=True))
    return Scored(outcome_id=scan.outcome_id, scores=scores, content=content, runtime="test", precision="float32")


def shown(server, path):
    answer = server.get(path)
    assert answer.status == HTTPStatus.OK, answer.text
    return " ".join(answer.text.split())


def reviews(server):
    with server.context.read() as connection:
        return connection.execute(text("SELECT scan_id, finding, verdict, comment, reviewer FROM reviews")).all()


def test_the_page_says_what_the_ledger_has_of_a_scan(server):
    """Facts, scores at the model's own threshold, labels, the patient's scans in time, and no name as a tag."""
    page = shown(server, f"/runs/1/scans/{FIRST}?finding=Effusion")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in page
    assert "<script>alert" not in page
    assert "<dt>Patient</dt><dd>77</dd>" in page
    assert "<dt>Age</dt><dd>61</dd>" in page
    assert 'id="score">0.750</b> <span id="prediction" class="positive">positive</span>' in page
    assert "Positive from 0.5: the model&#39;s best F1. Label: positive." in page
    assert "Labelled too, but not scored by this model: Mass (uncertain)." in page
    patient = page[page.index('id="patient"') : page.index('id="runs-of-scan"')]
    assert patient.index(f"/scans/{THIRD}") < patient.index(f"/scans/{SECOND}") < patient.index(", this one")
    third = shown(server, f"/runs/1/scans/{THIRD}")
    assert "<dt>SOP instance UID</dt><dd>1.2.3</dd>" in third
    assert "Maker &lt;b&gt;" in third
    assert "Positive from 0.5: the model has none of its own." in third


def test_a_patients_scans_do_not_call_an_uncertain_label_missing(server):
    """The score's own line says that it is uncertain; a row about another scan only has what the views say of it."""
    page = shown(server, f"/runs/1/scans/{THIRD}?finding=Effusion")
    assert "Label: uncertain." in page
    patient = page[page.index('id="patient"') : page.index('id="runs-of-scan"')]
    assert ("unlabelled" in patient, "unknown" in patient) == (False, True)


def test_the_worklist_that_a_person_came_from_is_kept(server):
    """Its filters stand in the links to its scans before and after this one, and back to it."""
    page = shown(server, f"/runs/1/scans/{SECOND}?view=PA&state=scored")
    assert '<span id="place">2 of 3</span>' in page
    for link in (f"/scans/{FIRST}?", f"/scans/{THIRD}?", "/runs/1?"):
        assert f"{link}state=scored&amp;view=PA" in page
    assert "not in this worklist" in shown(server, f"/runs/1/scans/{SECOND}?state=rejected")


def test_films_and_inputs_are_those_of_the_file(server, home):
    """The film's pixels are the file's, and the input's those of the manifest; a file that is gone is one sentence."""
    film = cv2.imread(str(home / "films" / "0.png"), cv2.IMREAD_UNCHANGED)
    answers = {name: server.get(f"/runs/1/scans/{FIRST}/{name}") for name in ("film.png", "input.png", "thumbnail")}
    assert [one.headers["content-type"] for one in answers.values()] == ["image/png", "image/png", "image/jpeg"]
    shown_film, shown_input = (
        cv2.imdecode(np.frombuffer(answers[name].body, np.uint8), cv2.IMREAD_UNCHANGED)
        for name in ("film.png", "input.png")
    )
    assert (shown_film == film).all()
    assert shown_input.shape == (32, 48)

    (home / "films" / "1.png").rename(home / "films" / "away.png")
    gone = server.get(f"/runs/1/scans/{SECOND}/film.png")
    (home / "films" / "away.png").rename(home / "films" / "1.png")
    assert gone.status == HTTPStatus.NOT_FOUND
    assert "There is no image to show" in gone.text


def test_a_rejected_scan_says_why_and_asks_for_no_image(server):
    """Reason and sentence stand in the film's place; nobody can agree with a score that is not there."""
    page = shown(server, f"/runs/1/scans/{MISSING}")
    assert "Rejected, missing: " in page
    assert "film.png" not in page
    assert 'value="agree"' not in page
    assert 'value="bad_image"' in page
    assert "The patient of this scan is not known" in page


def test_a_map_is_only_of_a_score_at_the_threshold(server):
    """Below it, one sentence; at it, the model is asked for, which this ledger has no files of."""
    below = server.get(f"/runs/1/scans/{SECOND}/map?finding=Effusion")
    assert (below.status, "no score of at least 0.5" in below.text) == (400, True)
    at = server.get(f"/runs/1/scans/{THIRD}/map?finding=Effusion")
    assert (at.status, "no score of at least" in at.text, "d" * 12 in at.text) == (400, False, True)
    assert 'data-map=""' in shown(server, f"/runs/1/scans/{SECOND}?finding=Effusion")


def test_a_review_is_a_row_and_leads_back_or_on(server):
    """The reviewer is the person who started the program; an invalid review is refused and changes nothing."""
    path = f"/runs/1/scans/{FIRST}/reviews?finding=Effusion&state=scored"
    answer = server.post(path, b"verdict=disagree&comment=no+%3Cb%3Efluid%3C%2Fb%3E")
    assert answer.url == f"{server.base}/runs/1/scans/{FIRST}?finding=Effusion&state=scored"
    assert "Reviewed: disagree, ada" in answer.text
    assert "no &lt;b&gt;fluid&lt;/b&gt;" in answer.text
    answer = server.post(path, b"verdict=bad_image&comment=&go_on=1")
    assert answer.url == f"{server.base}/runs/1/scans/{THIRD}?finding=Effusion&state=scored"
    stored = reviews(server)
    assert [tuple(one) for one in stored] == [
        (FIRST, "Effusion", "disagree", "no <b>fluid</b>", "ada"),
        (FIRST, None, "bad_image", None, "ada"),
    ]
    for form in (b"", b"verdict=perhaps", b"verdict=agree&comment=%0A1%0A2", b"x" * 9_000, b"verdict=%ff"):
        assert server.post(path, form).status == HTTPStatus.BAD_REQUEST
    assert server.post(f"/runs/1/scans/{MISSING}/reviews", b"verdict=agree").status == HTTPStatus.BAD_REQUEST
    assert reviews(server) == stored


@pytest.mark.parametrize("suffix", ["", "/film.png", "/input.png", "/thumbnail", "/map"])
def test_a_scan_that_the_run_does_not_have_is_not_found(server, suffix):
    """One sentence names both."""
    answer = server.get(f"/runs/1/scans/99{suffix}")
    assert answer.status == HTTPStatus.NOT_FOUND
    assert "Run 1 has no scan 99." in answer.text
