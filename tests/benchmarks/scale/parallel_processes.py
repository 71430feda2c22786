"""As many processes as asked for that begin together, each with an answer."""

import multiprocessing
import time

_TIMEOUT_SECONDS = 120


def run_in_parallel(count, work, *arguments):
    """Run `work(number, ready, *arguments)` in each; it calls `ready()` once it is set up. Gives the answers."""
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
    """Seconds from when the first began to when the last ended."""
    return max(one["ended"] for one in answers) - min(one["began"] for one in answers)
