"""A message's locations are compared with the ledger before any image is read."""

import dataclasses
import logging

import pytest


def test_a_message_with_another_location_is_dropped_and_its_work_stays_pending(work, caplog):
    """A restored or pruned ledger may have another scan under the id: no image is read, and no name is logged."""
    first, second, *_ = work.scans
    elsewhere = dataclasses.replace(first, location=second.location)
    with caplog.at_level(logging.INFO):
        assert work.handle([elsewhere, second]) == []
    assert work.pending == len(work.scans)
    assert [record.levelname for record in caplog.records if "message dropped" in record.message] == ["ERROR"]
    assert not any(second.location.rpartition("/")[2] in record.message for record in caplog.records)


def test_a_message_with_another_location_than_its_outcome_is_dropped(work):
    """A restored ledger gave the id to another scan, so the message is old, and nothing of it is read."""
    first, *_ = work.scans
    work.execute("UPDATE outcomes SET location = :new WHERE location = :old", new="/elsewhere.png", old=first.location)
    work.handle([first])
    assert work.pending == len(work.scans)


def test_another_location_of_a_scan_that_is_scored_already_drops_nothing(work):
    """Only pending scans are compared, and the rest of the chunk is scored."""
    first, second, *_ = work.scans
    work.handle([first])
    work.handle([dataclasses.replace(first, location="/elsewhere.png"), second])
    assert work.pending == len(work.scans) - 2


def test_a_dropped_message_of_a_lone_scan_costs_it_no_attempt(work):
    """It was redelivered and may have killed a worker, but no image was read, so the scan is not to blame."""
    lone = dataclasses.replace(work.scans[0], location="/elsewhere.png")
    work.process.handle(work.chunk([lone]).to_message(), redelivered=True)
    assert work.world.rows("SELECT max(attempts) FROM outcomes") == [(0,)]


def test_a_score_goes_to_no_scan_that_took_the_id_while_it_was_computed(work, monkeypatch):
    """A restored ledger gives ids again, also while a worker scores: the new scan waits for a score of its own."""
    first, second, *_ = work.scans
    score = work.process._scorer.score

    def restored_meanwhile(pixels):
        work.execute("UPDATE outcomes SET location = :new WHERE location = :old", new="/new.png", old=first.location)
        return score(pixels)

    monkeypatch.setattr(work.process._scorer, "score", restored_meanwhile)
    work.handle([first, second])
    scored = work.world.rows("SELECT id FROM outcomes WHERE state = 'scored'")
    assert scored == [(second.outcome_id,)]


def test_an_attempt_counts_against_no_scan_that_took_the_id(work, monkeypatch):
    """A scorer that fails blames the scan that it was given, not the one that has its id now."""
    first, *_ = work.scans

    def fail(_pixels):
        work.execute("UPDATE outcomes SET location = :new WHERE location = :old", new="/new.png", old=first.location)
        raise RuntimeError("a bug")

    monkeypatch.setattr(work.process._scorer, "score", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        work.handle([first])
    assert work.world.rows("SELECT max(attempts) FROM outcomes") == [(0,)]
