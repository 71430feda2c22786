"""The producer's commands around a run, as people and scripts use them."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.ledger import score_all
from tests.support.world import embedded_first, hash_artifact, image_name, wait_until, write_csv, write_images

pytestmark = embedded_first

NO_BROKER = "redis://127.0.0.1:1/0"
SCANS = range(6)


@pytest.fixture
def ledger(world, tmp_path):
    """A world without a broker, with a model and six images beside `sample_labels.csv`."""
    world.env["CXR_BROKER_URL"] = NO_BROKER
    hash_artifact(world.home / "models")
    write_images(tmp_path / "images", SCANS)
    world.csv = write_csv(tmp_path / "sample_labels.csv", [*SCANS, 6])
    return world


@pytest.fixture
def scored(ledger):
    """Run 1 of seven scans: six are scored with 0.1, 0.2 ... 0.6, one is missing."""
    ledger.producer("enqueue", "--csv", ledger.csv)
    score_all(ledger.engine, 1)
    return ledger


def as_json(world, *arguments, code=0):
    """Run a command with `--json` and return the one JSON value that its stdout consists of."""
    done = world.producer(*arguments, "--json", check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def count_rows(world):
    names = ("scans", "label_sets", "labels", "runs", "run_scans", "outcomes")
    return {name: world.rows(f"SELECT count(*) FROM {name}")[0][0] for name in names}


def test_a_dry_run_counts_and_writes_nothing(ledger):
    """`--dry-run` counts rows, images, decided scans and chunks, estimates the time and writes no row."""
    plan = as_json(ledger, "enqueue", "--csv", ledger.csv, "--dry-run")
    assert {key: plan[key] for key in ("rows", "images", "missing", "decided", "due", "chunks", "seconds")} == {
        "rows": 7,
        "images": 6,
        "missing": 1,
        "decided": 0,
        "due": 6,
        "chunks": 1,
        "seconds": None,
    }
    assert set(count_rows(ledger).values()) == {0}
    printed = ledger.producer("enqueue", "--csv", ledger.csv, "--dry-run").stdout
    assert "6  images found, 1 missing" in printed
    assert "6  would be scored, in 1 chunk, time unknown" in printed


def test_a_dry_run_counts_scans_that_are_scored_already(scored):
    """After a run, a dry run of the same source finds no scan that is due."""
    plan = as_json(scored, "enqueue", "--csv", scored.csv, "--dry-run")
    assert (plan["decided"], plan["due"], plan["chunks"]) == (7, 0, 0)


def test_a_dry_run_does_not_estimate_from_a_run_that_was_too_short(scored):
    """Six scans in a moment would promise 375,000 scans/s."""
    plan = as_json(scored, "enqueue", "--csv", scored.csv, "--dry-run", "--rescore")
    assert (plan["due"], plan["seconds"]) == (6, None)


def test_enqueue_says_how_many_images_are_missing_and_what_was_left_out(ledger, tmp_path):
    """By reason, and in JSON as well; one is singular."""
    assert "1 image of the source is missing" in ledger.producer("enqueue", "--csv", ledger.csv).stdout
    assert as_json(ledger, "enqueue", "--csv", ledger.csv)["missing"] == 1
    (tmp_path / "images" / "notes.txt").write_text("x")
    (tmp_path / "images" / "archive").symlink_to(tmp_path)
    source = ("--images", tmp_path / "images")
    assert "left out: 1 symlinked folder, 1 text file" in ledger.producer("enqueue", *source).stdout
    enqueued = as_json(ledger, "enqueue", *source)
    assert (enqueued["left_out"], enqueued["left_out_by_reason"]) == (2, {"symlinked_folder": 1, "text": 1})


def test_status_report_and_failures_tell_what_is_odd_about_a_run(ledger, tmp_path):
    """How often each note was made, what the listing left out, and where a film lies that only its UID names."""
    (tmp_path / "images" / "archive").symlink_to(tmp_path)
    ledger.producer("enqueue", "--images", tmp_path / "images")
    score_all(ledger.engine, 1)
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE outcomes SET notes = 'colour,view_unknown' WHERE id = 1"))
        connection.execute(text("UPDATE outcomes SET notes = 'view_unknown' WHERE id = 2"))
        connection.execute(text("UPDATE outcomes SET state = 'rejected', reason = 'view', detail = 'x' WHERE id = 3"))
        connection.execute(text("UPDATE scans SET image_name = '1.2.3' WHERE id = 3"))
    assert "\nscored, but noted: colour 1, view_unknown 2\n" in ledger.producer("status").stdout
    notes = {"colour": 1, "view_unknown": 2}
    assert as_json(ledger, "status")["notes"] == notes
    report = as_json(ledger, "report")
    assert (report["notes"], report["left_out"]) == (notes, {"symlinked_folder": 1})
    assert f"\nview: x\n  1.2.3  {tmp_path / 'images' / image_name(2)}\n" in ledger.producer("failures").stdout
    assert as_json(ledger, "failures")[0]["location"] == str(tmp_path / "images" / image_name(2))


def test_a_run_without_failures_says_so_in_a_sentence(ledger, tmp_path):
    """No empty table."""
    ledger.producer("enqueue", "--images", tmp_path / "images")
    assert ledger.producer("failures").stdout == "run 1: no scan was rejected or quarantined\n"


def test_failures_are_counted_by_reason_and_each_sentence_stands_once_above_its_images(ledger, tmp_path):
    """Names are never broken, however long."""
    long = f"{'n' * 120}.png"
    csv = tmp_path / "gone.csv"
    csv.write_text(f"Image Index,Finding Labels\n{long},Mass\nb.png,Mass\n{image_name(0)},Mass\n")
    ledger.producer("enqueue", "--csv", csv)
    printed = ledger.producer("failures").stdout.splitlines()
    assert printed == [
        "run 1: 2 scans not scored",
        "scans  state     reason",
        "    2  rejected  missing",
        "",
        "missing: no image of this name was found when the run was opened",
        "  b.png",
        f"  {long}",
    ]


def test_runs_lists_the_newest_first(scored, tmp_path):
    """With counts that add up, on one line each, and says how many runs it leaves out."""
    other = write_csv(tmp_path / "other folder.csv", [0])
    scored.producer("enqueue", "--csv", other)
    titles, newest, oldest = (line.split() for line in scored.producer("runs").stdout.splitlines())
    assert titles[:7] == ["run", "state", "expected", "scored", "rejected", "quarantined", "pending"]
    assert newest[:7] == ["2", "open", "1", "0", "0", "0", "1"]
    assert " ".join(newest).endswith(f"hash other folder {other}")
    assert oldest[:7] == ["1", "finished", "7", "6", "1", "0", "0"]
    assert [(run["run_id"], run["state"], run["pending"]) for run in as_json(scored, "runs")] == [
        (2, "open", 1),
        (1, "finished", 0),
    ]
    limited = scored.producer("runs", "--limit", "1").stdout.splitlines()
    assert (len(limited), limited[-1]) == (3, "the latest 1 of 2 runs; --limit 2 shows all")


def test_status_before_the_first_run_shows_the_workers(ledger):
    """So does its JSON; `--watch` has nothing to wait for, and a run that does not exist is a mistake."""
    printed = ledger.producer("status").stdout
    assert printed.startswith("there is no run yet; 'producer enqueue' opens one\nworkers: ")
    assert as_json(ledger, "status") == {"run_id": None, "workers": None}
    assert "no run yet" in ledger.producer("runs").stdout
    assert as_json(ledger, "runs") == []
    assert ledger.producer("status", "--watch", check=False).returncode == 2
    assert ledger.producer("status", "--run", "1", check=False).returncode == 2


def test_one_image_is_scored_as_if_its_folder_held_no_other(ledger, tmp_path):
    """It is the same scan as in a run of the whole folder."""
    ledger.producer("enqueue", "--images", tmp_path / "images" / image_name(2))
    score_all(ledger.engine, 1)
    assert ledger.rows("SELECT dataset, image_name FROM scans") == [("images", image_name(2))]
    ledger.producer("enqueue", "--images", tmp_path / "images")
    assert ledger.rows("SELECT expected, reused FROM run_progress WHERE run_id = 2") == [(6, 1)]


@pytest.mark.slow
def test_ctrl_c_in_run_says_how_many_scans_are_pending_after_its_worker_has_stopped(ledger, tmp_path):
    """The batch that the worker had in hand is counted; `status` then says the same, and that no worker runs."""
    del ledger.env["CXR_BROKER_URL"]
    ledger.env["HASH_SCORER_SECONDS"] = "2"
    write_images(tmp_path / "images", range(48))
    csv = write_csv(tmp_path / "sample_labels.csv", range(48))
    ledger.producer("enqueue", "--csv", csv)
    run = ledger.start("producer.cli", "run", "--csv", str(csv))
    wait_until(lambda: ledger.rows("SELECT count(*) FROM outcomes WHERE state = 'scored'") > [(0,)], 60, "a batch")
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 4, ledger.logs()
    printed = ledger.producer("status").stdout
    ((pending,),) = ledger.rows("SELECT pending FROM run_progress")
    assert 0 < pending < 48
    assert f"run 1 has {pending} scans pending" in ledger.logs()
    assert f"{pending} pending" in printed
    assert "workers: none is running" in printed


@pytest.mark.slow
def test_every_command_prints_json(scored, tmp_path):
    """`--json` prints one JSON value on stdout for each command that prints a result."""
    assert as_json(scored, "enqueue", "--csv", scored.csv)["sent"] == 0
    assert as_json(scored, "status", "--run", "1")["scored"] == 6
    assert as_json(scored, "status", "--run", "1")["created_at"][10] == "T", "moments are ISO 8601"
    assert as_json(scored, "failures", "--run", "1")[0]["reason"] == "missing"
    assert as_json(scored, "runs")[0]["scored"] == 6
    assert as_json(scored, "resume", "--run", "1")["sent"] == 0
    assert as_json(scored, "report", "--run", "1", "--out", tmp_path / "report")["coverage"]["expected"] == 7
    assert as_json(scored, "model", "list")[0]["name"] == "hash"
    assert as_json(scored, "model", "activate", "hash")["active"] is True
    assert as_json(scored, "model", "activate", "hash")["waiting_for_former"] == 0
    assert as_json(scored, "labels", "--csv", scored.csv, "--name", "again")["labelled"] == 7
    nothing = {"runs": 0, "outcomes": 0, "label_sets": 0, "labels": 0}
    assert as_json(scored, "prune", "--older-than", "1") == nothing
    assert as_json(scored, "run", "--csv", scored.csv, code=3)["label_set"] == "sample_labels"


def test_status_watch_and_enqueue_wait_exit_with_the_same_code(scored):
    """Both commands follow a run with rejected scans to its end and exit with code 3."""
    watched = scored.producer("status", "--watch", check=False)
    waited = scored.producer("enqueue", "--csv", scored.csv, "--wait", check=False)
    assert (watched.returncode, waited.returncode) == (3, 3)
    assert scored.producer("status").returncode == 0


def test_a_name_is_printed_unchanged_except_for_control_characters(ledger, tmp_path):
    """An image name is read neither as markup nor as an emoji."""
    csv = tmp_path / "odd.csv"
    csv.write_text('Image Index,Finding Labels\n:smile:[red].png,Mass\n"a\N{RIGHT-TO-LEFT OVERRIDE}b.png",Mass\n')
    write_images(tmp_path / "odd", [0])
    (tmp_path / "odd" / image_name(0)).rename(tmp_path / "odd" / "c.png")
    with csv.open("a") as file:
        file.write("c.png,Mass\n")
    ledger.producer("enqueue", "--csv", csv, "--images", tmp_path / "odd")
    printed = ledger.producer("failures").stdout
    assert ":smile:[red].png" in printed
    assert "a\N{REPLACEMENT CHARACTER}b.png" in printed


def test_enqueue_says_that_held_out_by_patient_cannot_be_told_until_labels_name_patients(ledger, tmp_path):
    """A folder names no patients: enqueue and report say so, and `producer labels` fills them in."""
    hash_artifact(ledger.home / "models", name="fitted", split=[(image_name(0), "1", "train")])
    source = ("--images", tmp_path / "images", "--model", "fitted", "--dataset", "sample_labels")
    note = "Held out by patient cannot be told: no scan has a patient id."
    assert note in ledger.producer("enqueue", *source, "--dry-run").stdout
    enqueued = as_json(ledger, "enqueue", *source)
    assert enqueued["held_out_note"] == note
    assert note in ledger.producer("enqueue", *source).stdout
    # On PostgreSQL the dry run used up a number.
    score_all(ledger.engine, enqueued["run_id"])
    named = as_json(ledger, "labels", "--csv", ledger.csv, "--name", "nih")
    assert named["patients_added"] == 6
    report = as_json(ledger, "report", "--labels", "nih")
    assert (report["held_out_note"], report["coverage"]["seen_itself"], report["coverage"]["seen_patient"]) == (
        None,
        1,
        2,
    )
    assert report["evaluation"]["findings"]["Abnormal"]["figures"]["scans"] == report["coverage"]["used"] == 3


def test_two_label_sets_give_two_reports_on_the_same_scores(scored, tmp_path):
    """`producer labels` enqueues nothing, and `report --labels` writes a second report, in files alone."""
    revised = write_csv(tmp_path / "revised.csv", SCANS, labels=dict.fromkeys(SCANS, "No Finding") | {5: "Mass"})
    before = count_rows(scored)
    imported = as_json(scored, "labels", "--csv", revised, "--name", "nih2020")
    assert imported == {
        "label_set": "nih2020",
        "exact_name": f"nih2020@{hashlib.sha256(revised.read_bytes()).hexdigest()[:8]}",
        "dataset": "sample_labels",
        "rows": 6,
        "labelled": 6,
        "patients_added": 0,
        "ignored": {},
    }
    after = count_rows(scored)
    assert {name for name in after if after[name] != before[name]} == {"label_sets", "labels"}

    own, other = as_json(scored, "report"), as_json(scored, "report", "--labels", "nih2020")
    positives = [r["evaluation"]["findings"]["Abnormal"]["figures"]["positives"] for r in (own, other)]
    assert (own["label_set"], other["label_set"], positives) == ("sample_labels", "nih2020", [2, 1])
    assert own["spread"] == other["spread"]
    assert sorted(path.name for path in (scored.home / "reports").iterdir()) == ["run-1", "run-1-labels-nih2020"]
    assert scored.rows("SELECT DISTINCT label_set FROM finding_metrics") == [("sample_labels",)]


def test_a_report_takes_other_thresholds(scored):
    """`--thresholds` sets the rows of the report and of no view, `--prevalence` adds to them; no number is above 1."""
    query = "SELECT * FROM threshold_metrics ORDER BY subset, finding, chosen_by, threshold"
    before = scored.rows(query)
    prevalences = ("--prevalence", "effusion=0.05,Mass=0.5", "--prevalence", "Abnormal=0.25")
    report = as_json(scored, "report", "--thresholds", "0.15,0.95", *prevalences)
    rows = {finding: result["thresholds"] for finding, result in report["evaluation"]["findings"].items()}
    assert [row["rates"]["threshold"] for row in rows["Effusion"]] == [0.15, 0.95]
    stated = {
        name: {row["at_prevalence"]["prevalence"] for row in of if row["at_prevalence"]} for name, of in rows.items()
    }
    assert {name: shares for name, shares in stated.items() if shares} == {
        "Effusion": {0.05},
        "Mass": {0.5},
        "Abnormal": {0.25},
    }
    assert scored.rows(query) == before
    done = scored.producer("report", "--thresholds", "0.5,2", check=False)
    assert (done.returncode, "from 0 to 1" in done.stderr) == (2, True)


def test_a_report_of_one_finding_has_a_folder_of_its_own(scored):
    """`--finding` in any case; the report of the whole run stays."""
    scored.producer("report")
    printed = scored.producer("report", "--finding", "effusion").stdout
    assert " for Effusion on 6 scans" in printed
    assert sorted(path.name for path in (scored.home / "reports").iterdir()) == ["run-1", "run-1-effusion"]


def test_a_label_set_is_never_edited(scored, tmp_path):
    """A file that contradicts an existing label set cannot be imported under its name."""
    other = write_csv(tmp_path / "other.csv", SCANS, labels=dict.fromkeys(SCANS, "Mass"))
    done = scored.producer("labels", "--csv", other, "--name", "sample_labels", check=False)
    assert (done.returncode, "never edited" in done.stderr) == (2, True)


def test_each_label_column_of_a_file_gives_its_own_label_set(ledger, tmp_path):
    """Two readers' columns of one CSV become two label sets and two runs."""
    csv = tmp_path / "readers.csv"
    csv.write_text(f"File,r1,r2\n{image_name(0)},Effusion,No Finding\n")
    for reader in ("r1", "r2"):
        flags = ("--image-column", "File", "--label-column", reader, "--images", tmp_path / "images")
        ledger.producer("enqueue", "--csv", csv, *flags)
    labels = "SELECT run_id, effusion_label, abnormal_label FROM results_wide ORDER BY 1"
    assert ledger.rows(labels) == [(1, 1, 1), (2, 0, 0)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("labels", "--csv", "CSV", "--name", "x", "--dataset", "typo"), "no dataset 'typo'"),
        (("labels", "--csv", "CSV", "--name", " "), "--name is empty"),
        (("labels", "--csv", "CSV", "--name", "two\nlines"), "one line"),
        (("labels", "--csv", "CSV", "--name", "n" * 101), "at most 100"),
        (("labels", "--csv", "CSV", "--name", "x@0123abcd"), "leave the hash out"),
        (("labels", "--csv", "BARE", "--name", "x", "--image-column", "File"), "no row has a label"),
        (("report", "--labels", "nope"), "no label set 'nope'"),
        (("report", "--finding", "Efusion"), "but of Effusion"),
        (("report", "--prevalence", "Efusion=0.1"), "but of Effusion"),
        (("report", "--prevalence", "Effusion=5%"), "such as Effusion=0.05"),
        (("enqueue", "--csv", "CSV", "--dataset", b"\xff"), "not valid UTF-8"),
        (("enqueue", "--csv", "CSV", "--dataset", ""), "--dataset is empty"),
        (("enqueue", "--images", ".", "--label-column", "Dx"), "add --csv"),
    ],
    ids=[
        "dataset",
        "name",
        "lines",
        "long",
        "hash",
        "labels",
        "label set",
        "finding",
        "prevalence",
        "share",
        "bytes",
        "no dataset",
        "columns",
    ],
)
def test_a_wrong_flag_gives_one_sentence(scored, tmp_path, arguments, sentence):
    """A wrong flag ends the command with code 2 and one sentence, and nothing is written."""
    (tmp_path / "bare.csv").write_text(f"File\n{image_name(0)}\n")
    files = {"CSV": scored.csv, "BARE": tmp_path / "bare.csv"}
    before = count_rows(scored)
    typed = [os.fsdecode(word) if isinstance(word, bytes) else files.get(word, word) for word in arguments]
    done = scored.producer(*typed, check=False)
    assert (done.returncode, sentence in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    assert count_rows(scored) == before


def test_labels_may_come_before_the_images(ledger):
    """Labels of a new dataset register its scans, and the next enqueue uses them."""
    ledger.producer("labels", "--csv", ledger.csv, "--name", "early")
    assert ledger.rows("SELECT count(*) FROM scans WHERE location IS NULL") == [(7,)]
    ledger.producer("enqueue", "--csv", ledger.csv)
    assert ledger.rows("SELECT pending, rejected FROM run_progress") == [(6, 1)]


def test_a_cancelled_run_is_over_and_its_scans_are_due_again(ledger):
    """`cancel` rejects the pending scans as `cancelled`; the next enqueue opens a new run with them."""
    ledger.producer("enqueue", "--csv", ledger.csv)
    assert as_json(ledger, "cancel") == {"run_id": 1, "cancelled": 6}
    assert "cancelled" in ledger.producer("status").stdout
    done = ledger.producer("cancel", check=False)
    assert (done.returncode, "finished already" in done.stderr) == (2, True)
    assert as_json(ledger, "enqueue", "--csv", ledger.csv)["pending"] == 6
    assert ledger.rows("SELECT run_id, pending FROM run_progress ORDER BY run_id") == [(1, 0), (2, 6)]


def test_an_export_goes_to_stdout_or_a_file(scored, tmp_path):
    """CSV and parquet hold one row per scan and finding, or with `--wide` one row per scan."""
    import pyarrow.parquet

    lines = scored.producer("export", "--format", "csv").stdout.splitlines()
    assert (len(lines) - 1) % 6 == 0 and lines[0].startswith("dataset,image_name,")
    scored.producer("export", "--format", "parquet", "--wide", "--out", tmp_path / "wide.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "wide.parquet")
    assert table.num_rows == 7
    assert sorted(score for score in table["abnormal"].to_pylist() if score is not None) == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    )
    assert scored.producer("export", "--reviews").stdout.startswith("dataset,image_name,patient_id,finding,verdict,")
    both = scored.producer("export", "--reviews", "--wide", check=False)
    assert (both.returncode, "leave it out with --reviews" in both.stderr) == (2, True)
    done = scored.producer("export", "--out", tmp_path / "no" / "such" / "folder.csv", check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_a_forgotten_patient_is_gone(scored):
    """`forget` deletes a patient's scans permanently and does not print the patient's id."""
    done = scored.producer("forget", "--patient", "00000001", "--yes")
    assert "3 scans" in done.stdout
    assert image_name(0)[:8] not in done.stdout + done.stderr
    assert scored.rows("SELECT expected FROM run_progress") == [(4,)]
    assert scored.rows("SELECT count(*) FROM scans WHERE patient_id = '1'") == [(0,)]
    assert scored.rows("SELECT scans FROM forgotten") == [(3,)]
    again = scored.producer("forget", "--patient", "00000001", "--yes", check=False)
    assert again.returncode == 2


def test_forget_asks_and_where_it_cannot_it_refuses(scored):
    """Without a terminal a script must say `--yes`; nothing is deleted."""
    done = scored.producer("forget", "--patient", "00000001", check=False)
    assert (done.returncode, "add --yes" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
    assert scored.rows("SELECT count(*) FROM scans WHERE patient_id = '1'") == [(3,)]


def test_flags_map_the_columns_of_a_hospitals_csv(ledger, tmp_path):
    """Columns may have any name, and image names may be paths below `--images`."""
    (tmp_path / "hospital.csv").write_text(f"MRN;File;Dx\nA-7;images/{image_name(0)};pleural thickening\n")
    flags = ("--image-column", "File", "--label-column", "Dx", "--patient-column", "MRN")
    ledger.producer("enqueue", "--csv", tmp_path / "hospital.csv", *flags, "--images", tmp_path)
    assert ledger.rows("SELECT patient_id, image_name FROM scans") == [("A-7", f"images/{image_name(0)}")]
    assert ledger.rows("SELECT finding FROM labels") == [("Pleural_Thickening",)]
    assert ledger.rows("SELECT pending FROM run_progress") == [(1,)]


LAYOUTS = Path(__file__).parents[1] / "support" / "label_layouts"


def test_chexperts_csv_is_enqueued_by_its_folders_and_patients(ledger, tmp_path):
    """The same flags tell beforehand what is read; the set's own folder lies around its images."""
    csv = LAYOUTS / "chexpert.csv"
    names = [line.split(",")[0] for line in csv.read_text().splitlines()[1:]]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_images(tmp_path / "source", [number])
        (tmp_path / "source" / image_name(number)).rename(tmp_path / name)
    flags = ("--csv", csv, "--patient-pattern", r"patient(\d+)", "--blank", "ignore")
    told = as_json(ledger, "labels", "--inspect", *flags)
    assert told["reading"] == {"layout": "columns", "uncertain": "ignore", "blank": "ignore"}
    assert (told["scans"], told["patients"], told["labelled"]) == (5, 4, 4)
    assert told["findings"]["Edema"] == {"positive": 1, "negative": 1, "uncertain": 2, "unknown": 1}
    assert not any(ledger.home.glob("*.sqlite*")), "looking writes nothing"
    ledger.producer("enqueue", *flags, "--images", tmp_path / "CheXpert-v1.0-small")
    assert ledger.rows("SELECT pending FROM run_progress") == [(5,)]
    assert ledger.rows("SELECT count(DISTINCT patient_id), min(view), max(sex) FROM scans") == [(4, "AP", "Male")]
    values = "SELECT value, count(*) FROM labels WHERE finding = 'Edema' GROUP BY value ORDER BY value"
    assert ledger.rows(values) == [(-1, 2), (0, 1), (1, 1)]


def test_unknown_words_end_the_command_or_are_counted(ledger, tmp_path):
    """One sentence names both remedies; what is left out is printed, and is in the JSON."""
    csv = tmp_path / "sample_labels.csv"
    csv.write_text(f"Image Index,Finding Labels\n{image_name(0)},Scoliosis|Mass\n{image_name(1)},Vol. overload\n")
    done = ledger.producer("enqueue", "--csv", csv, check=False)
    assert (done.returncode, "--map" in done.stderr, "--ignore-unknown" in done.stderr) == (2, True, True)
    flags = ("--csv", csv, "--ignore-unknown", "--map", "Vol. overload=Edema")
    assert as_json(ledger, "enqueue", *flags)["ignored_words"] == {"Scoliosis": 1}
    assert "Scoliosis 1" in ledger.producer("enqueue", *flags).stdout
    assert ledger.rows("SELECT finding FROM labels ORDER BY finding") == [("Edema",), ("Mass",)]


def test_no_check_assumes_that_every_image_exists(ledger, tmp_path):
    """Every row is due at its name below `--images`, and only the worker looks for the image."""
    ledger.producer("enqueue", "--csv", ledger.csv, "--images", "s3://bucket/prefix/", "--no-check")
    assert ledger.rows("SELECT pending, rejected FROM run_progress") == [(7, 0)]
    assert ledger.rows(f"SELECT location FROM scans WHERE image_name = '{image_name(6)}'") == [
        (f"s3://bucket/prefix/{image_name(6)}",)
    ]
    done = ledger.producer("enqueue", "--csv", ledger.csv, "--no-check", check=False)
    assert (done.returncode, "--images" in done.stderr) == (2, True)


def test_without_csv_and_images_there_is_nothing_to_score(ledger):
    """`enqueue` without `--csv` and `--images` prints one sentence and exits with code 2."""
    done = ledger.producer("enqueue", check=False)
    assert (done.returncode, "--csv" in done.stderr) == (2, True)


def test_enqueue_and_the_list_of_models_say_that_nobody_knows_what_a_model_was_fitted_on(ledger):
    """Before any figure: in a dry run, in the run, and where models are chosen."""
    hash_artifact(ledger.home / "models", name="imported", about={"fitted_scans": "unknown"})
    source = ("--csv", ledger.csv, "--model", "imported")
    note = "Held out: unknown. Nobody knows which scans the model was fitted on, so the figures may flatter it."
    assert note in ledger.producer("enqueue", *source, "--dry-run").stdout
    assert as_json(ledger, "enqueue", *source, "--dry-run")["held_out_note"] == note
    assert as_json(ledger, "enqueue", *source)["held_out_note"] == note
    assert note in ledger.producer("enqueue", *source).stdout
    listed = ledger.producer("model", "list").stdout.splitlines()
    assert [line for line in listed if "unknown scans" in line] == [line for line in listed if "imported" in line] != []
    marks = {model["name"]: model["fitted_scans_unknown"] for model in as_json(ledger, "model", "list")}
    assert marks == {"hash": False, "imported": True}
