"""A scan keeps its outcome until its image has other bytes; then it is due again."""

import hashlib
import os
import shutil

import pytest
from sqlalchemy import update

import db.ledger.open_run
import producer.ingest.changed_images
import worker.storage.s3
from db.engine.session import read_transaction
from db.errors import TemporaryError
from db.ledger.open_run import RunRequest, open_run
from db.ledger.outcomes import Rejected, Scored, count_attempt, note_seen, pending_of_run, record_outcomes
from db.ledger.scans import FoundImage, register_scans
from db.schema.tables import Outcome
from producer.ingest.changed_images import find_image_changes
from tests.support.ledger import a_model, labels_file
from tests.support.odd_s3 import OddStore
from tests.support.s3_server import client_of
from worker.storage.image_store import find_images, read_image
from worker.storage.versions import Version

NAMES = [f"{n:08d}_000.png" for n in range(4)]
TRUNCATED, POISON = NAMES[2], NAMES[3]


class Folder:
    """A ledger and four images: two were scored, one is truncated and one killed its worker."""

    def __init__(self, engine, root, images):
        self.engine, self.root, self.images = engine, root, images

    def enqueue(self, model="m"):
        """Enqueue as a producer does; gives the scans that changed, and the run's pending outcomes by name."""
        found = find_images(None, self.images, set(NAMES)).images
        file = labels_file(self.root)
        with self.engine.begin() as connection:
            model = a_model(connection, sha256=model * 64, name=model)
        changes = find_image_changes(self.engine, file.dataset, model.name, found)
        with self.engine.begin() as connection:
            ids = register_scans(connection, file.dataset, file.rows, found)
            request = RunRequest(
                source="x", sha256=os.urandom(8).hex(), dataset="sample_labels", model_id=model.id,
                label_set_id=None, options={},
            )  # fmt: skip
            note_seen(connection, changes.unchanged)
            seen = {ids[name]: image for name, image in found.items()}
            changed = {ids[name] for name in changes.changed}
            run, _ = open_run(connection, request, list(ids.values()), images=seen, changed=changed)
            names = {scan_id: name for name, scan_id in ids.items()}
            return changes.changed, {names[scan.scan_id]: scan for scan in pending_of_run(connection, run)}

    def changes(self, **flags):
        """How the ledger's images differ from the folder's."""
        found = find_images(None, self.images, set(NAMES)).images
        return find_image_changes(self.engine, "sample_labels", None, found, **flags)

    def decide(self, pending):
        with self.engine.begin() as connection:
            for name, scan in pending.items():
                if name == POISON:
                    while count_attempt(connection, scan):
                        pass
                else:
                    record_outcomes(connection, [outcome(name, scan)])


def outcome(name, scan):
    content = read_image(scan.location).content
    if name == TRUNCATED:
        return Rejected(outcome_id=scan.outcome_id, reason="truncated", detail="ends early", content=content)
    scores = {"Abnormal": 0.5}
    return Scored(outcome_id=scan.outcome_id, scores=scores, content=content, runtime="t", precision="float32")


@pytest.fixture(autouse=True)
def in_pieces(monkeypatch):
    """Open runs of four scans in two steps."""
    monkeypatch.setattr(db.ledger.open_run, "_SCANS_PER_SLICE", 3)


@pytest.fixture
def folder(engine, tmp_path):
    """The images in a folder on disk."""
    root = tmp_path / "images"
    root.mkdir()
    for name in NAMES:
        (root / name).write_bytes(name.encode())
    folder = Folder(engine, root, str(root))
    changed, pending = folder.enqueue()
    assert (changed, set(pending)) == (set(), set(NAMES))
    folder.decide(pending)
    return folder


@pytest.fixture
def store(s3, monkeypatch):
    """A new bucket with the four images under `night/`, as the server's client and the bucket's name."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    worker.storage.s3._s3_client.cache_clear()
    name = f"changed-{os.urandom(4).hex()}"
    client = client_of(s3)
    client.create_bucket(Bucket=name)
    for image in NAMES:
        client.put_object(Bucket=name, Key=f"night/{image}", Body=image.encode())
    yield client, name
    worker.storage.s3._s3_client.cache_clear()


@pytest.fixture
def reads(monkeypatch):
    """The locations that are read in order to compare."""
    seen = []
    monkeypatch.setattr(
        producer.ingest.changed_images, "read_image", lambda location: seen.append(location) or read_image(location)
    )
    return seen


def test_unchanged_images_are_not_read(folder, reads):
    """Nothing is due, whatever the outcome was."""
    assert folder.enqueue() == (set(), {})
    assert reads == []


def test_a_touched_image_keeps_its_score_and_is_read_once(folder, reads):
    """It has the same bytes and a new time; the time is noted, so the next enqueue reads nothing."""
    os.utime(folder.root / NAMES[0], ns=(5, 5))
    assert folder.enqueue() == (set(), {})
    assert folder.enqueue() == (set(), {})
    assert reads == [str(folder.root / NAMES[0])]


@pytest.mark.parametrize("name", [NAMES[0], TRUNCATED, POISON], ids=["scored", "rejected", "quarantined"])
def test_an_image_overwritten_in_place_is_due_again(folder, name):
    """It has other bytes of the same length: a score is out of date, a truncated image may be whole now."""
    (folder.root / name).write_bytes(name.encode()[::-1])
    os.utime(folder.root / name, ns=(5, 5))
    changed, pending = folder.enqueue()
    assert (changed, set(pending)) == ({name}, {name})
    folder.decide(pending)
    assert folder.enqueue() == (set(), {})


def test_images_that_moved_keep_their_scores(folder, reads):
    """They have the same bytes in another folder, and each is read once."""
    shutil.move(folder.root, folder.root.with_name("moved"))
    folder.images = str(folder.root.with_name("moved"))
    assert folder.enqueue() == (set(), {})
    assert len(reads) == 3, "the bytes of the quarantined one were never hashed"
    assert folder.enqueue() == (set(), {})
    assert len(reads) == 3


def copy_of(folder, **other):
    """Let the folder's images be found in a copy of it, some of them with other bytes."""
    copy = folder.root.with_name("copy")
    shutil.copytree(folder.root, copy)
    for name, data in other.items():
        (copy / name).write_bytes(data)
    folder.images = str(copy)


def test_an_image_in_another_place_with_other_bytes_is_not_the_same_scan(folder):
    """A name alone does not identify an image: the place that the ledger knows is not given up for it."""
    copy_of(folder, **{NAMES[1]: b"other bytes, another patient"})
    changes = folder.changes()
    assert changes.changed == set()
    assert set(changes.moved) == {*NAMES} - {NAMES[1]}


def test_an_image_in_another_place_that_cannot_be_read_is_not_the_same_scan(folder):
    """Nothing is guessed."""
    copy_of(folder)
    (folder.root.with_name("copy") / NAMES[0]).unlink()
    (folder.root.with_name("copy") / NAMES[0]).symlink_to("/etc/passwd")
    assert NAMES[0] not in folder.changes().moved


def test_a_person_who_says_that_the_scans_moved_gets_other_bytes_scored_anew(folder):
    """`--moved`: the same scans, of which one has other bytes."""
    copy_of(folder, **{NAMES[1]: b"other bytes, the same patient"})
    changes = folder.changes(trust_moved=True)
    assert changes.changed == {NAMES[1]}
    assert set(changes.moved) == {*NAMES}


@pytest.mark.parametrize("is_left", [True, False], ids=["copied", "moved"])
def test_a_pending_scan_in_another_place_waits_for_that_place(folder, is_left):
    """Its copy is the same scan, but what was opened for one place is scored from no other."""
    (folder.root / NAMES[0]).write_bytes(b"new")
    assert set(folder.enqueue()[1]) == {NAMES[0]}
    (shutil.copytree if is_left else shutil.move)(folder.root, folder.root.with_name("copy"))
    folder.images = str(folder.root.with_name("copy"))
    changed, pending = folder.enqueue()
    assert changed == {NAMES[0]}
    assert pending[NAMES[0]].location == str(folder.root.with_name("copy") / NAMES[0])


def test_a_pending_scan_in_another_place_with_other_bytes_is_not_the_same_scan(folder):
    """Nothing was read yet: the files are compared, and one that is gone must have had this size and time."""
    (folder.root / NAMES[0]).write_bytes(b"new")
    folder.enqueue()
    copy_of(folder, **{NAMES[0]: b"else"})
    assert NAMES[0] not in folder.changes().moved
    (folder.root / NAMES[0]).unlink()
    assert NAMES[0] not in folder.changes().moved


def test_an_image_of_which_nothing_was_read_may_lie_anywhere(engine, tmp_path):
    """A first command that named a wrong folder binds nobody."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / NAMES[0]).write_bytes(b"bytes")
    folder = Folder(engine, tmp_path, str(tmp_path / "images"))
    wrong = {NAMES[0]: FoundImage(location=str(tmp_path / "typo" / NAMES[0]))}
    with engine.begin() as connection:
        a_model(connection, sha256="m" * 64, name="m")
        register_scans(connection, "sample_labels", labels_file(tmp_path).rows, wrong)
    assert folder.changes().moved == {NAMES[0]: wrong[NAMES[0]].location}


def test_an_image_that_is_gone_or_unreadable_keeps_its_score(folder):
    """A worker could not read it either."""
    (folder.root / NAMES[0]).unlink()
    (folder.root / NAMES[1]).unlink()
    (folder.root / NAMES[1]).symlink_to("/etc/passwd")
    assert folder.enqueue() == (set(), {})


def test_a_pending_scan_whose_image_was_replaced_waits_for_the_new_one(folder):
    """What was opened for one version of the bytes is scored from no other; the run that asks gets a new revision."""
    (folder.root / NAMES[0]).write_bytes(b"other")
    [(_, first)] = folder.enqueue()[1].items()
    (folder.root / NAMES[0]).write_bytes(b"another still")
    changed, pending = folder.enqueue()
    assert changed == {NAMES[0]}
    assert pending[NAMES[0]].outcome_id > first.outcome_id
    assert pending[NAMES[0]].version != first.version
    assert folder.enqueue()[1] == pending, "the same listing shares what is pending"


def test_images_that_were_enqueued_without_a_check_are_read_once(folder, reads):
    """After `--no-check` no version is known: the bytes are compared, and the listed version is noted."""
    with folder.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE outcomes SET seen_as = NULL")
    (folder.root / NAMES[0]).write_bytes(b"other")
    changed, pending = folder.enqueue()
    assert (changed, set(pending), len(reads)) == ({NAMES[0]}, {NAMES[0]}, 3)
    folder.decide(pending)
    assert folder.enqueue() == (set(), {})
    assert len(reads) == 3


def test_a_conflict_hides_no_change(folder):
    """Another source took the scan for another one: what counts is the scan's own outcome, which is older."""
    with folder.engine.begin() as connection:
        request = RunRequest(
            source="another", sha256="c" * 64, dataset="sample_labels", model_id=1, label_set_id=None, options={}
        )
        open_run(connection, request, [], conflicts={1: "a sentence"})
    assert folder.enqueue() == (set(), {})
    (folder.root / NAMES[0]).write_bytes(b"other")
    assert folder.enqueue()[0] == {NAMES[0]}


def test_an_image_that_changed_under_one_model_changed_under_every_other(folder):
    """What an enqueue for one model noted does not hide the change from another model."""
    folder.decide(folder.enqueue(model="n")[1])
    (folder.root / NAMES[0]).write_bytes(b"other")
    assert folder.enqueue(model="n")[0] == {NAMES[0]}
    assert folder.enqueue()[0] == {NAMES[0]}


def test_an_image_that_could_not_be_read_is_compared_again(folder, monkeypatch):
    """A disk that fails once must not hide a change for ever."""

    def fail(location):
        raise TemporaryError("the disk did not answer")

    (folder.root / NAMES[0]).write_bytes(b"other")
    with monkeypatch.context() as patch:
        patch.setattr(producer.ingest.changed_images, "read_image", fail)
        assert folder.enqueue() == (set(), {})
    assert folder.enqueue()[0] == {NAMES[0]}


def test_a_location_without_a_version_is_not_a_change(folder):
    """`--no-check` lists nothing."""
    found = {name: FoundImage(location=str(folder.root / name)) for name in NAMES}
    assert find_image_changes(folder.engine, "sample_labels", None, found).changed == set()


def test_an_overwritten_object_is_due_again_if_it_has_other_bytes(engine, tmp_path, store, reads):
    """Only objects that are listed differently are read; one that is written again with the same bytes is not due."""
    client, name = store
    bucket = Folder(engine, tmp_path, f"s3://{name}/night")
    bucket.decide(bucket.enqueue()[1])
    client.put_object(Bucket=name, Key=f"night/{NAMES[0]}", Body=b"other")
    client.put_object(Bucket=name, Key=f"night/{NAMES[1]}", Body=NAMES[1].encode())
    changed, pending = bucket.enqueue()
    assert (changed, set(pending)) == ({NAMES[0]}, {NAMES[0]})
    bucket.decide(pending)
    assert bucket.enqueue() == (set(), {})
    assert set(reads) <= {f"s3://{name}/night/{image}" for image in NAMES[:2]}


def write_as_an_older_program(engine):
    """Let the ledger say of objects what programs noted that knew only their ETags."""
    with engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT id, seen_as, content FROM outcomes").all()
        for key, seen_as, content in rows:
            seen = FoundImage.from_seen_as(seen_as)
            etag = f"etag:{Version.parse(seen.version).etag}"
            values = {"seen_as": f"{etag} {seen.location}", "content": content and etag}
            connection.execute(update(Outcome).where(Outcome.id == key).values(values))


def test_objects_that_an_older_program_saw_stay_decided_and_are_not_read(engine, tmp_path, store, reads):
    """Their ETag is the same; from then on their size and time count too."""
    client, name = store
    bucket = Folder(engine, tmp_path, f"s3://{name}/night")
    bucket.decide(bucket.enqueue()[1])
    write_as_an_older_program(engine)
    assert bucket.enqueue() == (set(), {})
    with read_transaction(engine) as connection:
        seen = connection.exec_driver_sql("SELECT seen_as FROM outcomes").scalars().all()
    assert {image.seen_as for image in find_images(None, bucket.images).images.values()} == set(seen)
    assert reads == []
    client.put_object(Bucket=name, Key=f"night/{NAMES[0]}", Body=b"other")
    assert bucket.enqueue()[0] == {NAMES[0]}


def test_objects_that_wait_since_an_older_program_still_wait(engine, tmp_path, store):
    """Their workers still compare the ETag."""
    bucket = Folder(engine, tmp_path, f"s3://{store[1]}/night")
    pending = bucket.enqueue()[1]
    write_as_an_older_program(engine)
    changed, still_pending = bucket.enqueue()
    assert changed == set()
    assert {scan.outcome_id for scan in still_pending.values()} == {scan.outcome_id for scan in pending.values()}
    for scan in still_pending.values():
        read_image(scan.location, scan.version)


@pytest.mark.parametrize("is_decided", [True, False], ids=["decided", "pending"])
def test_objects_that_an_older_program_saw_may_move(engine, tmp_path, store, is_decided):
    """Their ETags are the hashes of the bytes that lie in the other place now."""
    client, name = store
    bucket = Folder(engine, tmp_path, f"s3://{name}/night")
    pending = bucket.enqueue()[1]
    if is_decided:
        bucket.decide(pending)
    write_as_an_older_program(engine)
    for image in NAMES:
        client.put_object(Bucket=name, Key=f"moved/{image}", Body=image.encode())
        client.delete_object(Bucket=name, Key=f"night/{image}")
    bucket.images = f"s3://{name}/moved"
    changes = bucket.changes()
    assert set(changes.moved) == {*NAMES}
    assert changes.changed == (set() if is_decided else {*NAMES})


@pytest.fixture
def one_etag(engine, tmp_path, monkeypatch):
    """The four images, decided, in a store whose objects all have one ETag; the folder and the store."""
    store = OddStore("one etag")
    for image in NAMES:
        store.put(f"night/{image}", image.encode())
    with store.serving() as address:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.setenv(name, "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        worker.storage.s3._s3_client.cache_clear()
        bucket = Folder(engine, tmp_path, "s3://ward/night")
        bucket.decide(bucket.enqueue()[1])
        yield bucket, store
    worker.storage.s3._s3_client.cache_clear()


def test_another_film_under_the_same_key_is_due_though_it_has_the_same_etag(one_etag, reads):
    """And the same size: its time differs."""
    bucket, store = one_etag
    assert bucket.enqueue() == (set(), {})
    assert reads == []
    store.put(f"night/{NAMES[0]}", NAMES[0].encode()[::-1])
    changed, pending = bucket.enqueue()
    assert (changed, set(pending)) == ({NAMES[0]}, {NAMES[0]})


@pytest.mark.parametrize("is_decided", [True, False], ids=["decided", "pending"])
def test_another_film_under_another_key_is_not_the_same_scan_though_it_has_the_same_etag(one_etag, is_decided):
    """Its copies are: the bytes count."""
    bucket, store = one_etag
    if not is_decided:
        for image in NAMES:
            store.put(f"night/{image}", b"new " + image.encode())
        assert bucket.enqueue()[0] == {*NAMES}
    for key, (data, modified) in dict(store.objects).items():
        store.put(key.replace("night", "copy"), data, modified)
    store.put(f"copy/{NAMES[0]}", store.objects[f"copy/{NAMES[0]}"][0][::-1], store.objects[f"copy/{NAMES[0]}"][1])
    bucket.images = "s3://ward/copy"
    assert set(bucket.changes().moved) == {*NAMES[1:]}


def test_images_that_moved_into_a_bucket_keep_their_scores(folder, store, reads):
    """Bytes are compared, not sha256 with ETag; if they were never hashed, the version has to do."""
    folder.images = f"s3://{store[1]}/night"
    assert folder.enqueue()[0] == {POISON}
    assert len(reads) == 3


def test_more_images_than_are_queued_at_a_time_are_all_compared(folder, monkeypatch):
    """The thread pool gets them in several parts."""
    monkeypatch.setattr(producer.ingest.changed_images, "_MAX_QUEUED_READS", 2)
    for name in NAMES:
        (folder.root / name).write_bytes(b"changed " + hashlib.md5(name.encode()).digest())
    assert folder.enqueue()[0] == set(NAMES)
    with read_transaction(folder.engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM outcomes").scalar() == 8
