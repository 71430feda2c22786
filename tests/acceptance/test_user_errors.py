"""A user's error gives one sentence and exit code 2, and writes nothing."""

from pathlib import Path

import pytest

from tests.support.world import embedded_first, hash_artifact, image_name, write_csv, write_images

pytestmark = embedded_first

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def images(tmp_path):
    write_images(tmp_path / "images", range(4))
    return tmp_path


def error_of(world, *arguments):
    """Run a command that must fail and return its one error sentence."""
    done = world.producer(*arguments, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1, done.stderr
    return sentences[0]


def nothing_written(world):
    tables = ("scans", "label_sets", "labels", "runs", "run_scans", "outcomes")
    return all(world.rows(f"SELECT count(*) FROM {table}") == [(0,)] for table in tables)


def test_a_csv_without_any_image_is_refused(world, tmp_path):
    """The error says that no image was found and in which folder."""
    hash_artifact(world.home / "models")
    (tmp_path / "empty").mkdir()
    csv = write_csv(tmp_path / "sample_labels.csv", range(4))
    assert "none of the 4 images" in error_of(world, "enqueue", "--csv", csv)
    assert str(tmp_path / "empty") in error_of(world, "enqueue", "--csv", csv, "--images", tmp_path / "empty")
    assert nothing_written(world)


def test_a_csv_without_a_model_is_refused(world, images):
    """The error says how to fit a model, or names the model that does not exist."""
    csv = write_csv(images / "sample_labels.csv", range(4))
    assert "trainer fit" in error_of(world, "enqueue", "--csv", csv)
    hash_artifact(world.home / "models")
    assert "'other'" in error_of(world, "enqueue", "--csv", csv, "--model", "other")
    assert nothing_written(world)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html></html>", b"\x89PNG\r\n\x1a\n\xff\xfe", b"", b"a,b\n1,2\n"])
def test_a_file_that_is_not_a_labels_file_is_refused(world, images, content):
    """The error names a file that is HTML, binary, empty, without the columns, or missing."""
    hash_artifact(world.home / "models")
    (images / "wrong.csv").write_bytes(content)
    assert "wrong.csv" in error_of(world, "enqueue", "--csv", images / "wrong.csv")
    assert "absent.csv" in error_of(world, "enqueue", "--csv", images / "absent.csv")
    assert nothing_written(world)


def test_a_damaged_artifact_is_refused_with_the_expected_hash(world, images):
    """`enqueue` refuses a model whose file was changed."""
    artifact = hash_artifact(world.home / "models")
    (artifact.folder / "model.keras").write_bytes(b"not the model")
    csv = write_csv(images / "sample_labels.csv", range(4))
    assert artifact.manifest.files["model.keras"] in error_of(world, "enqueue", "--csv", csv)


def test_an_unfinished_run_is_reported_only_as_partial(world, images):
    """A report of an unfinished run needs `--partial` and is marked as partial."""
    hash_artifact(world.home / "models")
    world.producer("enqueue", "--csv", write_csv(images / "sample_labels.csv", range(5)))
    assert "--partial" in error_of(world, "report")
    assert "PARTIAL" in world.producer("report", "--partial").stdout
    assert "no run 7" in error_of(world, "status", "--run", "7")


def test_without_a_broker_the_scans_are_committed_and_wait(world, images):
    """Without a broker, `enqueue` exits with 0 and says how many scans wait; `failures` lists the missing image."""
    world.env["CXR_BROKER_URL"] = "redis://127.0.0.1:1/0"
    hash_artifact(world.home / "models")
    done = world.producer("enqueue", "--csv", write_csv(images / "sample_labels.csv", range(5)))
    assert "4 scans wait for 'worker start'" in done.stdout
    assert image_name(4) in world.producer("failures").stdout


def test_a_broker_that_refuses_the_password_ends_enqueue_and_worker_and_the_work_stays(world, images, valkey_port):
    """Neither waits for ever; the sentence gives the broker's reason, and repeats no password."""
    world.env["CXR_BROKER_URL"] = f"redis://nobody:canary@127.0.0.1:{valkey_port}/0"
    hash_artifact(world.home / "models")
    sentence = error_of(world, "enqueue", "--csv", write_csv(images / "sample_labels.csv", range(5)))
    assert "CXR_BROKER_URL: the broker refuses this program (invalid username-password pair" in sentence
    assert "run 1 and its 4 pending scans are saved" in sentence
    assert world.rows("SELECT count(*) FROM outcomes WHERE state = 'pending'") == [(4,)]
    assert world.worker().wait(60) == 2
    assert "error: CXR_BROKER_URL: the broker refuses this program" in world.logs()
    assert "canary" not in sentence + world.logs()


@pytest.mark.skipif(not SHARED.exists(), reason="the real data is not beside this checkout")
def test_the_genuine_kaggle_file_is_enqueued_whole(world, tmp_path):
    """All 5,606 rows of the genuine sample become scans with labels and outcomes; a second enqueue joins the run."""
    csv = tmp_path / "sample_labels.csv"
    csv.write_bytes((SHARED / "sample_labels.csv").read_bytes())
    (tmp_path / "images").mkdir()
    names = [line.split(b",", 1)[0].decode() for line in csv.read_bytes().splitlines()[1:]]
    for name in names[:-6]:
        (tmp_path / "images" / name).touch()
    hash_artifact(world.home / "models")

    world.producer("enqueue", "--csv", csv)
    assert "run 1 joined" in world.producer("enqueue", "--csv", csv).stdout

    assert world.rows("SELECT expected, rejected, pending FROM run_progress") == [(5606, 6, 5600)]
    assert world.rows("SELECT count(DISTINCT patient_id) FROM scans") == [(4230,)]
    assert world.rows("SELECT count(*) FROM labels WHERE finding = 'No Finding'") == [(3044,)]
    assert world.rows("SELECT count(*) FROM labels WHERE finding = 'Hernia'") == [(13,)]
