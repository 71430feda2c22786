"""Beats in the broker: what each device's worker of a fleet says of itself every few seconds, until it expires."""

from collections.abc import Iterable, Sequence
from typing import Final

from celery import Celery
from pydantic import TypeAdapter, ValidationError

from worker.messaging.celery_app import redis_client
from worker.telemetry.heartbeat import Beat

#: Seconds after which a worker that says nothing more is no longer shown.
EXPIRY: Final = 15
_PREFIX: Final = "nightread.worker."
_FORM: Final = TypeAdapter(Beat)


def send_beats(app: Celery, beats: Sequence[Beat]) -> None:
    """Say how these workers are.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with redis_client(app) as client:
        for number, beat in enumerate(beats):
            client.set(_key(beat, number), _FORM.dump_json(beat), ex=EXPIRY)


def withdraw_beats(app: Celery, beats: Sequence[Beat]) -> None:
    """Say that these workers have stopped in good order.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with redis_client(app) as client:
        for number, beat in enumerate(beats):
            client.delete(_key(beat, number))


def read_beats(app: Celery) -> list[Beat]:
    """Every worker that said something within `EXPIRY`, by host, supervisor and device.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with redis_client(app) as client:
        keys = list(client.scan_iter(f"{_PREFIX}*", count=1000))
        values = client.mget(keys) if keys else []
    return sorted(_parsed(values), key=lambda beat: (beat.host, beat.pid, beat.device))


def _key(beat: Beat, number: int) -> str:
    return f"{_PREFIX}{beat.host}.{beat.pid}.{number}"


def _parsed(values: Iterable[bytes | None]) -> Iterable[Beat]:
    for value in values:
        try:
            yield _FORM.validate_json(value or b"")
        except ValidationError:
            # Expired since its key was listed, or a worker of another version: neither can be shown.
            continue
