"""The gate between the queue and Celery: of whatever lies in the queue, a chunk comes through and nothing else.

Celery obeys much that a message says of itself: which task it asks for and which follow, when it is due, how it is
packed. And what it cannot read it prints, paths and all, or dies of. So each message is taken apart here, and Celery is
given a new one around the chunk alone. What is refused is still pending in SQL, and will be sent again.
"""

import base64
import json
import logging
from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from db.errors import PermanentError
from worker.messaging.messages import TASK, Chunk

#: Bytes of the longest message that is opened: several times 10,000 scans with the longest paths that people use.
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
    """What is read of a message; all else that it says is left behind."""

    body: str
    content_type: Literal["application/json"] = Field(alias="content-type")
    headers: _Headers
    properties: _Properties


#: Arguments, keyword arguments (none), and what is to follow (ignored).
_BODY: Final = TypeAdapter(tuple[tuple[Any], dict[str, Any], Any])
_HELD: Final = TypeAdapter(tuple[_Envelope, str, str])
_NONE_OF_OURS: Final = "it does not ask for a chunk to be scored"


def let_through(reply: Sequence[bytes] | None, **_: object) -> tuple[bytes, bytes] | None:
    """The broker's answer to BRPOP (a queue's key and a message) as Celery may see it.

    Returns:
        None where the queue was empty, and where its message is dropped.
    """
    if not reply:
        return None
    key, raw = reply
    try:
        return key, admitted(raw)
    except PermanentError as error:
        logger.error("message dropped: %s", error)
        return None


def admitted(raw: bytes) -> bytes:
    """A message of our own making around the chunk of one that arrived.

    Raises:
        PermanentError: `message`: it is too long, or holds no chunk.
    """
    if len(raw) > MAX_BYTES:
        raise PermanentError("message", f"it has {len(raw)} bytes, {MAX_BYTES} are read")
    try:
        arrived = _Envelope.model_validate_json(raw)
    except ValidationError:
        raise PermanentError("message", _NONE_OF_OURS) from None
    return _enveloped(_chunk_of(arrived), arrived.headers.id, redelivered=arrived.properties.delivery_info.redelivered)


def held_queue(entry: bytes) -> str | None:
    """The queue of what some worker holds, by its entry in `unacked`; None where it is none of ours."""
    again = given_back(entry)
    return again and again[0]


def given_back(entry: bytes) -> tuple[str, bytes] | None:
    """The queue and the message, marked as redelivered, of what some worker held; None where it is none of ours."""
    try:
        # kombu stores [message, exchange, routing key].
        held, _, _ = _HELD.validate_json(entry)
        chunk = _chunk_of(held)
    except (ValidationError, PermanentError):
        return None
    return chunk.queue, _enveloped(chunk, held.headers.id, redelivered=True)


def _chunk_of(envelope: _Envelope) -> Chunk:
    try:
        (message,), keywords, _ = _BODY.validate_json(base64.b64decode(envelope.body, validate=True))
    except ValueError:
        # Without the cause: it repeats what was sent.
        raise PermanentError("message", _NONE_OF_OURS) from None
    if keywords:
        raise PermanentError("message", _NONE_OF_OURS)
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
            # Its own at each delivery: copies of one message must not acknowledge each other.
            "delivery_tag": str(uuid4()),
            # The queue itself, by no exchange: it can be put back whatever else the broker has lost.
            "delivery_info": {"exchange": "", "routing_key": chunk.queue, "redelivered": redelivered},
        },
    }
    return json.dumps(envelope).encode()
