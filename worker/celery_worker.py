"""Celery's parent of one scoring process: `python -m worker.celery_worker QUEUE NAME`.

Not Celery's own command line: it takes options from variables such as `BROKER_URL`, `LOADER` and `CELERY_WORKER_...`,
and imports from the current folder first. A supervisor starts this module.
"""

import sys


def main(queue: str, name: str) -> int:
    """Take chunks from one queue until told to stop; gives the exit code."""
    # Not at the top: a pool process runs this module again before it is set up.
    from celery.utils.nodenames import host_format

    from worker.tasks import app
    from worker.telemetry.logs import configure_logging

    # Celery warns against running as root before it sets up any log.
    configure_logging()
    worker = app.Worker(
        hostname=host_format(name),
        queues=[queue],
        pool="prefork",
        concurrency=1,
        without_gossip=True,
        without_mingle=True,
        loglevel="WARNING",
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
