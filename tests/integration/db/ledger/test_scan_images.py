"""The image of a scan in a run is that of the run's own outcome, on both databases."""

from sqlalchemy import select, update

from db.engine.session import read_transaction
from db.ledger.outcomes import record_outcomes
from db.ledger.scan_images import find_scan_image
from db.schema.tables import Outcome, RunScan, Scan
from tests.support.ledger import enqueue, ids_of, scored


def images_of(engine, run):
    """Every image of a run, by scan."""
    with read_transaction(engine) as connection:
        scans = connection.execute(select(RunScan.scan_id).where(RunScan.run_id == run).order_by(RunScan.scan_id))
        return [find_scan_image(connection, run, scan) for scan in scans.scalars().all()]


def test_a_run_keeps_showing_the_image_that_it_read(engine, tmp_path):
    """Whatever a later command registers: another place, or an image where the run had none."""
    run, _ = enqueue(engine, tmp_path, missing={2})
    one, two, three = ids_of(engine, run)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(one)])
        connection.execute(update(Outcome).where(Outcome.id == two).values(seen_as="stat:7-8 /x/a b.png"))
        connection.execute(update(Outcome).where(Outcome.id == three).values(content="etag:e", seen_as="etag:f /y"))
    before = images_of(engine, run)
    enqueue(engine, tmp_path, rescore=True, sha256="b" * 64)
    with engine.begin() as connection:
        connection.execute(update(Scan).values(location="/later"))

    assert images_of(engine, run) == before
    assert [image.location for image in before] == [
        "/x/00000000_000.png",
        "/x/00000001_000.png",
        None,
        before[3].location,
    ]
    assert [image.state for image in before] == ["scored", "pending", "rejected", "pending"]
    assert [image.content for image in before] == ["sha256:x", None, None, None]
    # Of bytes that were not hashed, the version is what was read, or what was listed.
    assert [image.version for image in before] == [None, "stat:7-8", None, "etag:e"]
    assert before[2].detail == "no image of this name was found when the run was opened"
    assert [dict(image.preprocessing) for image in before] == [{}] * 4


def test_a_scan_of_another_run_has_no_image_in_this_one(engine, tmp_path):
    run, _ = enqueue(engine, tmp_path, count=1)
    enqueue(engine, tmp_path, count=2, sha256="b" * 64)

    with read_transaction(engine) as connection:
        assert find_scan_image(connection, run, 1).scan_id == 1
        assert find_scan_image(connection, run, 2) is None
        assert find_scan_image(connection, run + 2, 1) is None


def test_an_image_that_may_have_ended_a_worker_is_suspect(engine, tmp_path):
    """From the first attempt that it was tried alone, until its bytes are read to the end: a page must not open it."""
    run, _ = enqueue(engine, tmp_path, count=2)
    tried, other = ids_of(engine, run)

    def suspects():
        return [image.is_suspect for image in images_of(engine, run)]

    assert suspects() == [False, False]
    with engine.begin() as connection:
        connection.execute(update(Outcome).where(Outcome.id == tried).values(attempts=1))
    assert suspects() == [True, False]
    with engine.begin() as connection:
        record_outcomes(connection, [scored(tried)])
        connection.execute(update(Outcome).where(Outcome.id == other).values(state="quarantined"))
    assert suspects() == [False, True]
