"""The pipeline turns scans into outcomes in batches, with bad and slow images among them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from db.errors import OutOfDeviceMemory, PermanentError, TemporaryError
from db.ledger.outcomes import PendingScan, Rejected, Scored
from tests.support.hash_scorer import hash_scores
from tests.support.screenshot import screenshot
from tests.support.world import radiograph
from worker.images.pixels import prepare, preprocess
from worker.images.preprocessing import Preprocessing
from worker.scoring import pipeline as chunks
from worker.scoring.pipeline import score_chunk
from worker.settings import MAX_PIXELS
from worker.storage.image_store import EncodedImage
from worker.telemetry.counters import Stopwatch

RULE = Preprocessing(height=16, width=16)
FINDINGS = ("Abnormal", "Effusion", "Hernia")
BATCH = 4


class Recorder:
    """A fast fake scorer that hashes pixels and records the size of each batch."""

    findings = FINDINGS
    batch_size = BATCH
    runtime = "fake 1"
    precision = "float32"

    def __init__(self, before=lambda: None, scores=None):
        self.batches = []
        self._before = before
        self._scores = scores

    def score(self, pixels):
        self._before()
        self.batches.append(len(pixels))
        scores = np.stack([hash_scores(scan, len(FINDINGS)) for scan in pixels])
        if self._scores is not None:
            scores[-1, -1] = self._scores
        return scores

    def shrink(self):
        self.batch_size //= 2


class Disk:
    """A fake disk with radiograph n at location n, or the bytes or error that are set there."""

    def __init__(self, **instead):
        self.instead = {int(name.strip("_")): value for name, value in instead.items()}
        self.read = []

    def __call__(self, location, version=None):
        self.read.append(int(location))
        found = self.instead.get(int(location))
        if isinstance(found, Exception):
            raise found
        data = encoded(int(location)) if found is None else found
        return EncodedImage(data=data, content=f"sha256:{location}")


def encoded(number):
    return cv2.imencode(".png", radiograph(number, side=20))[1].tobytes()


def expected_scores(number):
    pixels = preprocess(radiograph(number, side=20), RULE)
    return dict(zip(FINDINGS, hash_scores(pixels, len(FINDINGS)).astype(float).tolist(), strict=True))


def scans(count):
    # The ids differ from the positions and descend, so that only the chunk can give the order.
    return [
        PendingScan(outcome_id=1000 - number, scan_id=number, model_sha256="m", revision=1, location=str(number))
        for number in range(count)
    ]


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def run(pool):
    """Returns a function that scores a chunk and returns the scans left and the outcomes written, by commit."""

    def run(chunk, *, scorer=None, disk=None, out_of_time=lambda: False, write=None, max_pixels=MAX_PIXELS, **options):
        written = []
        left = score_chunk(
            chunk,
            scorer=scorer or Recorder(),
            read_image=disk or Disk(),
            decode_image=lambda image: prepare(image.data, RULE, max_pixels),
            record_outcomes=write or written.append,
            pool=pool,
            out_of_time=out_of_time,
            **options,
        )
        return left, written

    return run


def flat(written):
    return [outcome for batch in written for outcome in batch]


def test_a_score_names_the_export_that_computed_it(run):
    """A scorer that uses the artifact's own model has no export."""
    scorer = Recorder()
    assert [outcome.export_sha256 for outcome in flat(run(scans(1), scorer=scorer)[1])] == [None]
    scorer.export_sha256 = "e" * 64
    assert [outcome.export_sha256 for outcome in flat(run(scans(1), scorer=scorer)[1])] == ["e" * 64]


def test_a_score_carries_the_notes_on_its_own_image(run):
    """A page among three films, all in one batch."""
    page = cv2.imencode(".png", screenshot())[1].tobytes()
    _, written = run(scans(BATCH), disk=Disk(_2=page))
    assert [outcome.notes for outcome in flat(written)] == [(), (), ("colour",), ()]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 23])
def test_each_scan_gets_the_scores_of_its_own_image_in_the_chunks_order(run, count):
    """This holds in a last batch that is not full, too; no scan is left or written twice."""
    scorer = Recorder()
    left, written = run(scans(count), scorer=scorer)
    assert left == []
    assert flat(written) == [
        Scored(
            outcome_id=1000 - number,
            scores=expected_scores(number),
            content=f"sha256:{number}",
            runtime="fake 1",
            precision="float32",
        )
        for number in range(count)
    ]
    assert scorer.batches == [BATCH] * (count // BATCH) + [count % BATCH] * (count % BATCH > 0)
    assert [len(batch) for batch in written] == scorer.batches


def test_a_chunk_without_scans_does_nothing(run):
    """Other workers may have decided every scan already."""
    scorer = Recorder()
    assert run([], scorer=scorer) == ([], [])
    assert scorer.batches == []


def test_slow_images_do_not_change_the_order(run):
    """The first image to arrive is not the first scan."""

    def slow_start(location, version=None):
        time.sleep(0.05 if int(location) % BATCH == 0 else 0)
        return Disk()(location)

    _, written = run(scans(12), disk=slow_start)
    assert [outcome.outcome_id for outcome in flat(written)] == [scan.outcome_id for scan in scans(12)]
    assert [outcome.scores for outcome in flat(written)] == [expected_scores(number) for number in range(12)]


def test_a_bad_image_is_rejected_with_its_reason_and_spoils_no_other(run):
    """Batches with missing, empty or truncated images are filled up with the next good scans."""
    scorer = Recorder()
    disk = Disk(_1=PermanentError("missing", "no image"), _2=b"", _6=encoded(6)[:-20])
    left, written = run(scans(11), scorer=scorer, disk=disk)
    assert left == []
    outcomes = {1000 - outcome.outcome_id: outcome for outcome in flat(written)}
    assert set(outcomes) == set(range(11))
    assert outcomes[1] == Rejected(outcome_id=999, reason="missing", detail="no image", content=None)
    assert (outcomes[2].reason, outcomes[2].content) == ("empty", "sha256:2")
    assert (outcomes[6].reason, outcomes[6].content) == ("truncated", "sha256:6")
    good = set(range(11)) - {1, 2, 6}
    assert {number: outcomes[number].scores for number in good} == {number: expected_scores(number) for number in good}
    assert scorer.batches == [4, 4]


def test_a_chunk_of_bad_images_alone_never_asks_the_model(run):
    """Every rejection is written without a forward pass."""
    scorer = Recorder()
    left, written = run(scans(6), scorer=scorer, disk=Disk(**{f"_{number}": b"" for number in range(6)}))
    assert left == []
    assert [outcome.reason for outcome in flat(written)] == ["empty"] * 6
    assert scorer.batches == []


def test_a_scan_that_cannot_be_read_for_now_is_left_undecided(run):
    """No row is written for it, and the rest of the chunk is written."""
    disk = Disk(_0=TemporaryError("no answer"), _5=TemporaryError("no answer"))
    left, written = run(scans(7), disk=disk)
    assert left == [scans(7)[0], scans(7)[5]]
    assert [1000 - outcome.outcome_id for outcome in flat(written)] == [1, 2, 3, 4, 6]


def test_the_time_budget_ends_the_work_after_a_batch_and_written_outcomes_stay(run):
    """The rest is returned in order to be sent again, and no image far beyond is read."""
    disk, asked = Disk(), []

    def out_of_time():
        # The pipeline asks after each scan.
        asked.append(True)
        return len(asked) == 2 * BATCH

    left, written = run(scans(40), disk=disk, out_of_time=out_of_time)
    assert [1000 - outcome.outcome_id for outcome in flat(written)] == list(range(8))
    assert left == scans(40)[8:]
    assert len(asked) == 2 * BATCH
    assert max(disk.read) < 4 * BATCH


def test_the_time_budget_ends_the_work_also_while_no_image_can_be_read(run):
    """An outage of the store must not hold a chunk beyond its visibility timeout, because that counts as a crash."""
    disk = Disk(**{f"_{number}": TemporaryError("no answer") for number in range(100)})
    left, written = run(scans(100), disk=disk, out_of_time=lambda: True)
    assert (len(left), written) == (100, [])
    assert len(disk.read) < 100


def test_no_more_than_four_batches_are_under_way(run):
    """Decoding runs ahead of the model, but a long chunk does not fill the memory."""
    disk, ahead = Disk(), []

    def look():
        time.sleep(0.03)
        ahead.append(len(disk.read) - sum(scorer.batches) - BATCH)

    scorer = Recorder(before=look)
    run(scans(60), scorer=scorer, disk=disk)
    assert max(ahead) <= 4 * BATCH
    # Decoding does run ahead: while the model works, the next batch is ready.
    assert ahead[0] >= BATCH


def test_a_scorer_gets_as_many_batches_at_once_as_it_says(run):
    """Two batches wait for each other here, and outcomes stay in order; by default a scorer gets one at a time."""
    scorer = Recorder(before=threading.Barrier(2, timeout=10).wait)
    scorer.streams = 2
    left, written = run(scans(24), scorer=scorer)
    assert left == []
    assert [[1000 - outcome.outcome_id for outcome in batch] for batch in written] == [
        list(range(first, first + BATCH)) for first in range(0, 24, BATCH)
    ]
    alone = threading.Lock()

    def before():
        assert alone.acquire(blocking=False)
        time.sleep(0.01)
        alone.release()

    assert run(scans(24), scorer=Recorder(before=before))[0] == []


def test_the_device_does_not_wait_while_outcomes_are_made(run, monkeypatch):
    """The first batch's outcomes are made while the model scores the second; a sequence would time out."""
    second, make = threading.Event(), chunks._scored

    def before():
        if scorer.batches:
            second.set()

    def scored(*args):
        assert second.wait(timeout=10)
        return make(*args)

    scorer = Recorder(before=before)
    monkeypatch.setattr(chunks, "_scored", scored)
    left, written = run(scans(12), scorer=scorer)
    assert (left, [len(batch) for batch in written]) == ([], [BATCH] * 3)


def test_a_batch_that_shares_the_device_counts_half_its_time(run):
    """The speed of a model alone is computed from its seconds."""
    both, stopwatch, started = threading.Barrier(2, timeout=10), Stopwatch(), time.monotonic()
    scorer = Recorder(before=lambda: time.sleep(0.1 + 0 * both.wait()))
    scorer.streams = 2
    run(scans(4 * BATCH), scorer=scorer, stopwatch=stopwatch)
    assert 0.2 <= stopwatch.seconds["score"] <= time.monotonic() - started


def test_images_are_read_side_by_side(run):
    """Two reads wait for each other here, so a sequence would time out."""
    both = threading.Barrier(2, timeout=5)

    def read(location, version=None):
        both.wait()
        return Disk()(location)

    left, written = run(scans(4), disk=read)
    assert (left, len(flat(written))) == ([], 4)


@pytest.mark.parametrize("score", [np.nan, -0.01, 1.01, np.inf])
def test_a_score_out_of_range_raises_and_nothing_of_its_batch_is_written(run, score):
    """A score outside [0, 1] comes from a broken model and must never reach SQL."""
    written = []
    with pytest.raises(ArithmeticError, match=r"outside \[0, 1\]"):
        run(scans(4), scorer=Recorder(scores=score), write=written.append)
    assert written == []


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_both_ends_of_the_range_are_scores(run, score):
    """A saturated sigmoid gives exactly 0 or 1."""
    left, written = run(scans(4), scorer=Recorder(scores=score))
    assert left == []
    assert flat(written)[-1].scores["Hernia"] == score


def test_a_bug_in_reading_raises(run):
    """A bug is not a property of the scan, so no row is written for it."""
    written = []
    with pytest.raises(ZeroDivisionError):
        run(scans(8), disk=Disk(_5=ZeroDivisionError()), write=written.append)
    assert all(outcome.outcome_id != 995 for outcome in flat(written))


def test_a_failed_commit_raises_and_reading_stops(run):
    """The caller handles the error, and images far beyond are not read."""
    disk = Disk()

    def broken(_outcomes):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        run(scans(100), disk=disk, write=broken)
    assert max(disk.read) < 7 * BATCH


def test_the_caller_sets_the_limit_of_pixels(run):
    """A radiograph of 20 x 20 is too large if the limit is 399 pixels."""
    (_, written) = run(scans(1), max_pixels=400)
    assert isinstance(written[0][0], Scored)
    (_, written) = run(scans(1), max_pixels=399)
    assert written[0][0].reason == "too_large"


def test_each_stage_of_a_chunk_is_timed(run):
    """Operators can see whether a chunk waits for reading, decoding, the model or the database."""
    moment, watch = 0.02, Stopwatch()
    disk = Disk()

    def slow_disk(location, version=None):
        time.sleep(moment)
        return disk(location)

    def slow_write(_):
        time.sleep(3 * moment)

    run(scans(4), scorer=Recorder(lambda: time.sleep(2 * moment)), disk=slow_disk, write=slow_write, stopwatch=watch)
    spent = watch.seconds
    assert spent["read"] >= 4 * moment
    assert spent["score"] >= 2 * moment
    assert spent["write"] >= 3 * moment


def test_a_scan_that_hangs_lets_the_others_pass_and_is_left(run):
    """An image for which the store does not answer does not delay its neighbours."""
    over, started = threading.Event(), time.monotonic()
    disk = Disk()

    def hangs(location, version=None):
        if location == "0":
            over.wait(10)
        return disk(location)

    left, written = run(scans(12), disk=hangs, out_of_time=lambda: time.monotonic() > started + 2)
    over.set()
    assert left == scans(1)
    assert {1000 - outcome.outcome_id for outcome in flat(written)} == set(range(1, 12))
    assert {1000 - o.outcome_id: o.scores for o in flat(written)} == {n: expected_scores(n) for n in range(1, 12)}


def test_images_that_all_hang_hold_no_chunk_beyond_its_time(run):
    """Beyond its time, another worker would count the chunk as a crash."""
    over, started = threading.Event(), time.monotonic()
    left, written = run(scans(12), disk=lambda *_: over.wait(10), out_of_time=lambda: time.monotonic() > started + 1)
    took = time.monotonic() - started
    over.set()
    assert (left, written) == (scans(12), [])
    assert took < 3


class SmallDevice(Recorder):
    """A fake scorer whose device has memory for `room` scans at once."""

    batch_size = 8

    def __init__(self, room):
        super().__init__()
        self.room = room
        self.refused = []

    def score(self, pixels):
        if self.batch_size > self.room:
            self.refused.append(self.batch_size)
            raise MemoryError
        return super().score(pixels)


@pytest.mark.parametrize(("room", "size"), [(7, 4), (4, 4), (3, 2), (1, 1)])
def test_batches_are_halved_for_good_on_a_device_short_of_memory(run, room, size):
    """The scores stay the same, and the larger batches are not tried again."""
    scorer = SmallDevice(room)
    left, written = run(scans(19), scorer=scorer)
    assert left == []
    assert [outcome.scores for outcome in flat(written)] == [expected_scores(number) for number in range(19)]
    assert scorer.refused == [batch for batch in (8, 4, 2, 1) if batch > room]
    assert max(scorer.batches) == size


def test_two_batches_without_memory_are_halved_once(run):
    """Both batches fail, but only the first failure may halve the batch size."""
    both = threading.Barrier(2, timeout=10)

    class TwoAtOnce(SmallDevice):
        streams = 2

        def score(self, pixels):
            if self.batch_size > self.room:
                both.wait()
                raise MemoryError
            return super().score(pixels)

    scorer = TwoAtOnce(4)
    assert run(scans(16), scorer=scorer)[0] == []
    assert scorer.batch_size == 4


def test_no_scan_is_to_blame_on_a_device_without_memory_for_one(run):
    """No outcome is written, and the caller hands the work back."""
    written = []
    with pytest.raises(OutOfDeviceMemory, match="no memory for a batch of one scan"):
        run(scans(5), scorer=SmallDevice(0), write=written.append)
    assert written == []
