"""Runs processes that begin at the same time and return an answer each."""

import multiprocessing
import time

_TIMEOUT_SECONDS = 120


def run_in_parallel(count, work, *arguments):
    """Run `work(number, ready, *arguments)` in `count` processes, and return their answers.

    `work` calls `ready()` once it is set up; all processes then begin at the same time.
    """
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=_one, args=(work, number, barrier, answers, arguments), daemon=True)
        for number in range(count)
    ]
    for process in processes:
        process.start()
    try:
        return [answers.get(timeout=_TIMEOUT_SECONDS) for _ in processes]
    finally:
        for process in processes:
            process.join(5)
            process.kill()


def _one(work, number, barrier, answers, arguments):
    begun = {}

    def ready():
        barrier.wait(_TIMEOUT_SECONDS)
        begun.update(at=time.monotonic(), cpu=time.process_time())

    answer = work(number, ready, *arguments)
    answers.put({**answer, "began": begun["at"], "ended": time.monotonic(), "cpu": time.process_time() - begun["cpu"]})


def wall_seconds(answers):
    """Seconds from the start of the first process to the end of the last."""
    return max(one["ended"] for one in answers) - min(one["began"] for one in answers)
