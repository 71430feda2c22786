"""A fake scorer that crashes, hangs or exhausts memory, as inputs, drivers and machines make a scorer do.

Loaded by CXR_RUNTIME=tests.support.harmful_scorer:HarmfulScorer, or :harmful_model around the real model.
The darkest pixel of a poison scan tells its harm, see `HARMS`. Memory is exhausted while the image is decoded, because
all batches of a model need the same; `hang` is a decoder that never returns.
HARM_FILE names a file whose word is obeyed once: the process that takes the file does the harm, and renames the file so
that it ends in its own pid. HARM_AT_LOAD ends every load by SIGSEGV.
"""

import ctypes
import os
import resource
import signal
import time
from functools import partial, partialmethod
from pathlib import Path

import cv2
import numpy as np

from db import close_run
from tests.support.hash_scorer import HashScorer
from worker.scoring import decoder, process
from worker.scoring.open_scorer import open_scorer
from worker.scoring.outcome_writer import OutcomeWriter

#: The harm of a scan, by the lower bound of its pixels: see `poison_image`.
HARMS = {190: "segfault", 205: "memory", 220: "kill", 235: "hang"}
_WIDTH = 15
#: Bytes that a process may allocate after its model is loaded, and bytes that a greedy scan asks for.
_ROOM = 512 * 2**20
_GREED = 8 * _ROOM


def poison_image(rng, harm):
    """uint8 (96, 96): nearly uniform, so that it keeps its effect when it is scaled down."""
    darkest = next(value for value, name in HARMS.items() if name == harm)
    return rng.integers(darkest + 2, darkest + _WIDTH - 2, (96, 96), dtype=np.uint8)


class HarmfulScorer(HashScorer):
    """A hash scorer that can be harmed."""

    def __init__(self, artifact):
        super().__init__(artifact)
        _prepare()

    def score(self, pixels):
        _harm(pixels)
        return super().score(pixels)


def harmful_model(artifact):
    """The real model, which comes to harm."""
    scorer = open_scorer(artifact, "keras")
    _prepare()
    harmless = scorer.score

    def score(pixels):
        _harm(pixels)
        time.sleep(float(os.environ.get("HASH_SCORER_SECONDS", "0")))
        return harmless(pixels)

    scorer.score = score
    return scorer


def _prepare():
    if os.environ.get("HARM_AT_LOAD"):
        ctypes.string_at(0)
    if _take_word("hang at load"):
        _hang()
    OutcomeWriter._close_runs = partialmethod(_close_runs, OutcomeWriter._close_runs)
    close_run.aggregate = partial(_aggregate, close_run.aggregate)
    process.read_image = partial(_read_image, process.read_image)
    decoder.prepare = partial(_prepare_image, decoder.prepare)


def _close_runs(self, close_runs, outcome_ids):
    """Harm at the moment when a chunk is committed, but its run is not closed and its message not acknowledged."""
    if _take_word("kill child before ack"):
        os.kill(os.getpid(), signal.SIGKILL)
    if _take_word("kill worker before ack"):
        os.killpg(0, signal.SIGKILL)
    if not _pending_anywhere(self) and _take_word("kill child at the last ack"):
        os.kill(os.getpid(), signal.SIGKILL)
    close_runs(self, outcome_ids)


def _aggregate(aggregate, *arguments, **kwargs):
    """Harm at the moment before the metrics of a run are computed."""
    if _take_word("kill child at the metrics"):
        os.kill(os.getpid(), signal.SIGKILL)
    return aggregate(*arguments, **kwargs)


def _read_image(read_image, *image, **patience):
    if _take_word("hang at read"):
        _hang()
    image = read_image(*image, **patience)
    if _harm_of(cv2.imdecode(np.frombuffer(image.data or b"-", np.uint8), cv2.IMREAD_GRAYSCALE)) == "memory":
        _exhaust_memory()
    return image


def _prepare_image(prepare, *arguments):
    prepared = prepare(*arguments)
    if _harm_of(prepared.pixels) == "hang":
        _hang()
    return prepared


def _pending_anywhere(self):
    with self._engine.connect() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM outcomes WHERE state = 'pending'").scalar()


def _harm(pixels):
    if _take_word("hang at score"):
        _hang()
    for scan in pixels:
        _DO.get(_harm_of(scan), lambda: None)()


def _harm_of(scan):
    """The harm that a decoded scan does; None if it is harmless or not an image."""
    if scan is None:
        return None
    return next(
        (harm for darkest, harm in HARMS.items() if darkest <= scan.min() <= scan.max() < darkest + _WIDTH), None
    )


def _take_word(word):
    path = Path(os.environ.get("HARM_FILE", "/nowhere"))
    try:
        if path.read_text() != word:
            return False
        path.rename(f"{path}.{os.getpid()}")
    except OSError:
        return False
    return True


def _hang():
    while True:
        time.sleep(60)


def _exhaust_memory():
    """Ask for more memory than a limit that the kernel enforces."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + _ROOM, hard))
    np.ones(_GREED, np.uint8)


_DO = {
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
