"""Two sources whose scans have equal names: a score belongs to its image, and nothing is guessed."""

import csv
import hashlib
import json
import os

import cv2
import pytest

from tests.support.world import EMBEDDED, HEADER, hash_artifact, radiograph, wait_until

# Identities do not depend on the broker; `tests/integration/producer/ingest` tries them on PostgreSQL too.
pytestmark = pytest.mark.parametrize("world", [EMBEDDED], indirect=True)

NAMES = [f"scan{number}.png" for number in range(4)]


class Site:
    """A folder with labels.csv and images/, both named as at every other site."""

    def __init__(self, root, first_radiograph, first_patient):
        self.images = root / "images"
        self.images.mkdir(parents=True)
        self.csv = root / "labels.csv"
        for number, name in enumerate(NAMES):
            cv2.imwrite(str(self.images / name), radiograph(first_radiograph + number))
        self.patients = {name: str(first_patient + number) for number, name in enumerate(NAMES)}
        self.write_csv()

    def write_csv(self):
        with self.csv.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(HEADER)
            rows.writerows(
                [name, "Effusion", 0, patient, "060Y", "M", "PA", 96, 96, 0.1, 0.1]
                for name, patient in self.patients.items()
            )

    def content(self, name):
        return "sha256:" + hashlib.sha256((self.images / name).read_bytes()).hexdigest()

    @property
    def expected(self):
        """The rows that a run over this site's CSV must have."""
        return {(name, self.patients[name], self.content(name)) for name in NAMES}


@pytest.fixture
def home(world):
    hash_artifact(world.home / "models")
    return world


@pytest.fixture
def sites(tmp_path):
    return Site(tmp_path / "site A", 0, 100), Site(tmp_path / "site B", 500, 900)


def scored(world, run_id):
    """Name, patient and content of the scans that a run scored."""
    return set(
        world.rows(
            "SELECT image_name, patient_id, content FROM run_scans rs JOIN scans s ON s.id = rs.scan_id "
            "JOIN outcomes o ON o.id = rs.outcome_id WHERE rs.run_id = :run AND o.state = 'scored'",
            run=run_id,
        )
    )


def contents_of(world):
    tables = ("scans", "labels", "label_sets", "runs", "run_scans", "outcomes", "scores")
    return {table: world.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


def refusal(world, *arguments):
    """The message of an enqueue that is refused and writes nothing."""
    before = contents_of(world)
    done = world.producer("enqueue", *arguments, check=False)
    assert done.returncode == 2, done.stdout
    assert contents_of(world) == before
    return done.stderr


def score_all(world):
    world.worker()
    unfinished = "SELECT count(*) FROM runs WHERE finished_at IS NULL"
    wait_until(lambda: world.rows(unfinished) == [(0,)], 60, f"the end\n{world.logs()}")


def test_a_csv_of_the_same_name_with_other_patients_is_refused_until_it_is_a_dataset_of_its_own(home, sites):
    """The first run is scored from its own images and keeps its patients; the second gets its own under `--dataset`."""
    a, b = sites
    home.producer("enqueue", "--csv", a.csv)
    message = refusal(home, "--csv", b.csv)
    for part in (
        str(a.images / NAMES[0]),
        str(b.images / NAMES[0]),
        "patient 100",
        "patient 900",
        "4 scans are others",
    ):
        assert part in message
    for flag in ("--dataset", "--moved", "--correct-patients"):
        assert flag in message
    home.producer("enqueue", "--csv", b.csv, "--dataset", "site B")
    score_all(home)
    assert (scored(home, 1), scored(home, 2)) == (a.expected, b.expected)
    assert home.rows("SELECT label_set FROM run_progress ORDER BY run_id") == [("labels",), ("site B",)]
    assert "--moved" in refusal(home, "--csv", b.csv), "after the first run is scored, too"


@pytest.mark.slow
def test_folders_of_one_name_are_refused_unless_their_bytes_are_the_same(home, sites, tmp_path):
    """Without a CSV no patient tells them apart, but their bytes do; a copy of a folder keeps its scores."""
    a, b = sites
    home.producer("enqueue", "--images", a.images)
    message = refusal(home, "--images", b.images)
    assert "--moved" in message
    assert "--correct-patients" not in message
    score_all(home)
    assert "--moved" in refusal(home, "--images", b.images)
    os.renames(a.images, tmp_path / "archive" / "images")
    home.producer("enqueue", "--images", tmp_path / "archive" / "images")
    assert home.rows("SELECT scored, reused FROM run_progress WHERE run_id = 2") == [(4, 4)]


@pytest.mark.slow
def test_moved_scans_with_other_bytes_are_scored_anew_and_the_earlier_run_keeps_its_scores(home, sites):
    """`--moved` and `--correct-patients` are a person's word that these are the same scans."""
    a, b = sites
    home.producer("run", "--csv", a.csv)
    before = home.rows("SELECT image_name, finding, score FROM results WHERE run_id = 1 ORDER BY 1, 2")
    home.producer("run", "--csv", b.csv, "--moved", "--correct-patients")
    assert scored(home, 2) == b.expected
    assert home.rows("SELECT image_name, finding, score FROM results WHERE run_id = 1 ORDER BY 1, 2") == before


@pytest.mark.slow
def test_a_corrected_patient_id_needs_a_flag(home, sites):
    """The CSV of the same images names another patient: nothing is written until a person says that it is right."""
    a, _ = sites
    home.producer("run", "--csv", a.csv)
    a.patients[NAMES[2]] = "777"
    a.write_csv()
    message = refusal(home, "--csv", a.csv)
    assert "patient 102" in message
    assert "patient 777" in message
    assert "--moved" not in message
    home.producer("enqueue", "--csv", a.csv, "--correct-patients")
    assert home.rows("SELECT patient_id FROM scans WHERE image_name = :name", name=NAMES[2]) == [("777",)]


@pytest.mark.slow
def test_a_night_rejects_what_it_would_have_to_ask_about_and_scores_the_rest(home, sites):
    """Two of four names are known as other scans: `conflict`, each night once, and their own scores stay."""
    a, b = sites
    for name in NAMES[2:]:
        (a.images / name).unlink()
        del a.patients[name]
    a.write_csv()
    home.producer("run", "--csv", a.csv)
    nightly = ("nightly", "--now", "--json", "--csv", b.csv)
    home.worker()
    summary = json.loads(home.producer(*nightly, check=False).stdout)
    assert summary["run_id"] == 2
    rows = home.rows("SELECT image_name, state, reason, detail, abnormal FROM results_wide WHERE run_id = 2 ORDER BY 1")
    sentence = "the source names another patient for this scan than the ledger"
    assert [row[1:4] for row in rows] == [("rejected", "conflict", sentence)] * 2 + [("scored", None, None)] * 2
    assert scored(home, 2) == {row for row in b.expected if row[0] in NAMES[2:]}
    assert scored(home, 1) == {(name, a.patients[name], a.content(name)) for name in NAMES[:2]}
    assert (summary["new_scans"], summary["conflicts"], summary["rejected_tonight"]) == (2, 2, {"conflict": 2})
    again = json.loads(home.producer(*nightly).stdout)
    assert (again["conflicts"], again["rejected_tonight"]) == (2, {}), "they wait for a person, but are no news"
    assert home.rows("SELECT count(*) FROM outcomes WHERE reason = 'conflict'") == [(2,)]
    home.producer("run", "--csv", a.csv)
    assert home.rows("SELECT reused FROM run_progress WHERE run_id = 4") == [(2,)]


def test_an_image_that_is_replaced_before_it_is_read_is_not_scored_under_the_old_listing(home, sites):
    """It is rejected as `changed`; the next run scores it as it is now."""
    a, _ = sites
    home.producer("enqueue", "--csv", a.csv)
    cv2.imwrite(str(a.images / NAMES[1]), radiograph(77, side=120))
    score_all(home)
    assert home.rows("SELECT image_name, reason FROM results_wide WHERE run_id = 1 AND reason IS NOT NULL") == [
        (NAMES[1], "changed")
    ]
    home.producer("enqueue", "--csv", a.csv)
    score_all(home)
    assert scored(home, 2) == a.expected
