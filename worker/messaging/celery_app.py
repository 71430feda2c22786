"""Makes the Celery application, sends chunks, and asks the broker which chunks wait or are being worked on."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from celery import Celery
from celery.loaders.app import AppLoader
from kombu.transport import TRANSPORT_ALIASES
from redis import Redis

from worker.messaging.broker_errors import broker_errors
from worker.messaging.embedded_broker import broker_url
from worker.messaging.envelope import held_queue
from worker.messaging.messages import TASK, Chunk, queue_of
from worker.settings import WorkerSettings

#: Seconds that a stopping worker gives its chunk to finish before it returns the chunk to the queue.
SOFT_SHUTDOWN_SECONDS: Final = 3.0

logger = logging.getLogger(__name__)

# By name, so that the module is loaded only when something connects.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "worker.messaging.redis_transport:Transport"))


class LedgerApp(Celery):  # type: ignore[misc]
    """A Celery application whose keys in the broker all name one ledger, because several may share a broker.

    Attributes:
        ledger: `db.ledger.ledger_id`.
    """

    ledger: str

    @property
    def unacked_key(self) -> str:
        """The hash in which kombu's Redis transport keeps messages that are delivered but not acknowledged."""
        return f"unacked.{self.ledger}"

    @property
    def unacked_index_key(self) -> str:
        """The sorted set of their delivery times, by the broker's clock."""
        return f"unacked_index.{self.ledger}"

    def queue_of(self, model_sha256: str) -> str:
        """The queue of a model's chunks."""
        return queue_of(self.ledger, model_sha256)


class _Loader(AppLoader):  # type: ignore[misc]
    """Imports task modules as Python does; Celery's loader looks for them in the current folder first."""

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
        return (imp or self.import_module)(module, package=package)


def make_app(settings: WorkerSettings, ledger: str) -> LedgerApp:
    """Make a Celery application whose messages survive the death of the worker that holds them.

    With late acknowledgement and a prefetch multiplier of 1, a worker holds exactly the chunk that it works on. Results
    are ignored, because SQL holds them.
    """
    app = LedgerApp("nightread", broker=broker_url(settings), loader=_Loader)
    app.ledger = ledger
    app.conf.update(
        accept_content=["json"],
        # A broker that is out of memory or read-only is waited for like one that is unavailable.
        broker_channel_error_retry=True,
        broker_connection_retry_on_startup=True,
        # With Celery's default of 100 tries a worker would end after an hour without a broker.
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout,
            "unacked_key": app.unacked_key,
            "unacked_index_key": app.unacked_index_key,
            # With kombu's defaults a dead worker's chunk comes back up to 100 s late.
            "unacked_restore_interval": 2,
            # Without these timeouts a worker waits forever for a broker whose connection was cut silently.
            "socket_connect_timeout": 5,
            "socket_timeout": 10,
            "health_check_interval": 10,
            # A producer reports an unavailable broker at once, because SQL holds the work.
            "max_retries": 1,
            "interval_start": 0.1,
            "interval_max": 0.2,
        },
        task_acks_late=True,
        task_ignore_result=True,
        task_reject_on_worker_lost=True,
        task_send_sent_event=settings.events,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_pool_start_method="spawn",
        worker_prefetch_multiplier=1,
        worker_send_task_events=settings.events,
        # Must exceed the time for import, load and warm-up, or every new child is killed while it loads.
        worker_proc_alive_timeout=300,
        worker_soft_shutdown_timeout=SOFT_SHUTDOWN_SECONDS,
    )
    return app


def send_chunk(app: Celery, chunk: Chunk) -> None:
    """Send one chunk to the workers of its model; a chunk that is too long goes in halves.

    Raises:
        TemporaryError: the broker does not answer. SQL still holds the work.
    """
    if chunk.is_too_long:
        for half in chunk.halves():
            send_chunk(app, half)
        return
    with broker_errors():
        app.send_task(
            TASK,
            args=[chunk.to_message()],
            argsrepr=chunk.printed,
            kwargsrepr="{}",
            queue=chunk.queue,
            retry=False,
        )


def nothing_in_flight(app: LedgerApp, model_sha256: str) -> bool:
    """Whether neither the model's queue nor any worker holds a chunk of the model.

    Raises:
        TemporaryError: the broker does not answer.
    """
    queue = app.queue_of(model_sha256)
    with redis_client(app) as client:
        return client.llen(queue) == 0 and queue not in _held_queues(app, client)


def waiting_chunks(app: LedgerApp, models: Iterable[str]) -> dict[str, int]:
    """How many chunks wait in the queue of each of these models (sha256), without those that workers hold.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with redis_client(app) as client:
        return {model: int(client.llen(app.queue_of(model))) for model in models}


@contextmanager
def redis_client(app: Celery) -> Iterator[Any]:
    """Give a client of the broker from the application's pool.

    Raises:
        TemporaryError: the broker does not answer.
    """
    # From the pool: otherwise the heartbeats and sweeps of a large fleet would connect a thousand times per second.
    with broker_errors(), app.pool.acquire(block=True) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=3)
        yield cast("Redis", connection.default_channel.client)


def _held_queues(app: LedgerApp, client: Any) -> set[str]:
    # A message in the hash alone is held by no worker, and would never be delivered again.
    tags = client.zrange(app.unacked_index_key, 0, -1)
    entries: Iterable[bytes | None] = client.hmget(app.unacked_key, tags) if tags else []
    return {queue for entry in entries if entry and (queue := held_queue(entry))}
