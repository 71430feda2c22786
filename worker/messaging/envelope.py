"""Validates the envelope of each message between the queue and Celery, and lets only chunks through.

Celery obeys much that a message says of itself: its task, the tasks that follow, when it is due, how it is packed.
It prints a message that it cannot read, with its paths, or dies of it. So each message is opened here, and Celery gets
a new envelope around the chunk alone. The work of a dropped message is still pending in SQL and is sent again.
"""

import base64
import json
import logging
from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from worker.messaging.messages import TASK, Chunk, InvalidMessage

#: Bytes of the longest message that is opened: several times 10,000 scans with the longest paths in use.
MAX_BYTES: Final = 16 * 2**20

logger = logging.getLogger(__name__)


class _Headers(BaseModel):
    task: Literal["nightread.score_chunk"]
    id: UUID


class _Delivery(BaseModel):
    redelivered: bool = False


class _Properties(BaseModel):
    delivery_info: _Delivery


class _Envelope(BaseModel):
    """The parts of a message that are read; the rest is ignored."""

    body: str
    content_type: Literal["application/json"] = Field(alias="content-type")
    headers: _Headers
    properties: _Properties


#: Arguments, keyword arguments (none), and the tasks that follow (ignored).
_BODY: Final = TypeAdapter(tuple[tuple[Any], dict[str, Any], Any])
_HELD: Final = TypeAdapter(tuple[_Envelope, str, str])
_NOT_A_CHUNK: Final = "it does not ask for a chunk to be scored"


def validate_reply(reply: Sequence[bytes] | None, **_: object) -> tuple[bytes, bytes] | None:
    """Validate the broker's answer to BRPOP: a queue's key and a message.

    Returns:
        None where the queue was empty or its message was dropped.
    """
    if not reply:
        return None
    key, raw = reply
    try:
        return key, validate_envelope(raw)
    except InvalidMessage as error:
        logger.error("message dropped: %s", error)
        return None


def validate_envelope(raw: bytes) -> bytes:
    """Give a message of our own making around the chunk of the message that arrived.

    Raises:
        InvalidMessage: the message is too long, or holds no chunk.
    """
    if len(raw) > MAX_BYTES:
        raise InvalidMessage(f"it has {len(raw)} bytes, the limit is {MAX_BYTES}")
    try:
        arrived = _Envelope.model_validate_json(raw)
    except ValidationError:
        raise InvalidMessage(_NOT_A_CHUNK) from None
    return _enveloped(_chunk_of(arrived), arrived.headers.id, redelivered=arrived.properties.delivery_info.redelivered)


def held_queue(entry: bytes) -> str | None:
    """The queue of a message that a worker holds, by its entry in `unacked`; None for another program's message."""
    redelivery = redelivered(entry)
    return redelivery and redelivery[0]


def redelivered(entry: bytes) -> tuple[str, bytes] | None:
    """The queue and the message of an entry in `unacked`, marked as redelivered; None for another program's message."""
    try:
        # kombu stores [message, exchange, routing key].
        held, _, _ = _HELD.validate_json(entry)
        chunk = _chunk_of(held)
    except (ValidationError, InvalidMessage):
        return None
    return chunk.queue, _enveloped(chunk, held.headers.id, redelivered=True)


def _chunk_of(envelope: _Envelope) -> Chunk:
    try:
        (message,), keywords, _ = _BODY.validate_json(base64.b64decode(envelope.body, validate=True))
    except ValueError:
        # Without the cause, which repeats the message.
        raise InvalidMessage(_NOT_A_CHUNK) from None
    if keywords:
        raise InvalidMessage(_NOT_A_CHUNK)
    return Chunk.from_message(message)


def _enveloped(chunk: Chunk, task_id: UUID, *, redelivered: bool) -> bytes:
    number = str(task_id)
    body = json.dumps([[chunk.to_message()], {}, {}])
    envelope = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": TASK, "id": number, "argsrepr": chunk.printed, "kwargsrepr": "{}"},
        "properties": {
            "correlation_id": number,
            "body_encoding": "base64",
            # A new one at each delivery: copies of one message must not acknowledge each other.
            "delivery_tag": str(uuid4()),
            # The queue itself and no exchange: the message can be put back whatever else the broker has lost.
            "delivery_info": {"exchange": "", "routing_key": chunk.queue, "redelivered": redelivered},
        },
    }
    return json.dumps(envelope).encode()
