"""Heartbeats in the broker: one key per device of the fleet, renewed every few seconds until it expires."""

from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import TypeAdapter, ValidationError

from worker.messaging.celery_app import LedgerApp, redis_client
from worker.telemetry.device_status import Heartbeat

#: Seconds after which a worker that sends no more heartbeats is no longer shown.
EXPIRY_SECONDS: Final = 15
_HEARTBEAT_JSON: Final = TypeAdapter(Heartbeat)


def send_heartbeats(app: LedgerApp, heartbeats: Sequence[Heartbeat]) -> None:
    """Publish the heartbeats of one supervisor's devices.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with redis_client(app) as client:
        for number, heartbeat in enumerate(heartbeats):
            client.set(_key(app, heartbeat, number), _HEARTBEAT_JSON.dump_json(heartbeat), ex=EXPIRY_SECONDS)


def withdraw_heartbeats(app: LedgerApp, heartbeats: Sequence[Heartbeat]) -> None:
    """Delete the heartbeats of workers that have stopped in good order.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with redis_client(app) as client:
        for number, heartbeat in enumerate(heartbeats):
            client.delete(_key(app, heartbeat, number))


def read_heartbeats(app: LedgerApp) -> list[Heartbeat]:
    """Every worker of this ledger that sent a heartbeat within `EXPIRY_SECONDS`, by host, supervisor and device.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with redis_client(app) as client:
        keys = list(client.scan_iter(f"{_prefix(app)}*", count=1000))
        values = client.mget(keys) if keys else []
    return sorted(_parsed(values), key=lambda heartbeat: (heartbeat.host, heartbeat.pid, heartbeat.device))


def _prefix(app: LedgerApp) -> str:
    return f"nightread.worker.{app.ledger}."


def _key(app: LedgerApp, heartbeat: Heartbeat, number: int) -> str:
    return f"{_prefix(app)}{heartbeat.host}.{heartbeat.pid}.{number}"


def _parsed(values: Iterable[bytes | None]) -> Iterable[Heartbeat]:
    for value in values:
        try:
            yield _HEARTBEAT_JSON.validate_json(value or b"")
        except ValidationError:
            # Expired since its key was listed, or from a worker of another version: neither can be shown.
            continue
