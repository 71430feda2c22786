"""Only a chunk is accepted from the queue, and everything else is dropped."""

import base64
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.malicious_messages import LEDGER, MODEL, NAME, chunk, dropped, harmless, message
from worker.messaging.envelope import held_queue, redelivered, validate_envelope, validate_reply
from worker.messaging.messages import MAX_SCANS, TASK, Chunk, ChunkScan, InvalidMessage, queue_of

MINE = ("2" * 12, "1" * 64)
TRAP = "/nowhere/unpickled"
REFUSED = {what: raw for what, raw in dropped(*MINE, TRAP).items() if what not in ("another model", "another ledger")}
ODD = harmless(*MINE)


def unpack(raw):
    """Returns an envelope and its decoded body."""
    envelope = json.loads(raw)
    return envelope, json.loads(base64.b64decode(envelope["body"]))


@pytest.mark.parametrize("what", REFUSED)
def test_a_message_without_a_chunk_is_dropped_in_a_sentence_that_repeats_nothing(what, caplog):
    """Messages may be other than JSON, deep, long, compressed, pickled, or for another task."""
    with caplog.at_level(logging.ERROR):
        assert validate_reply([b"score", REFUSED[what]]) is None
    [record] = caplog.records
    assert "message dropped" in record.getMessage()
    assert "7731" not in caplog.text
    assert len(record.getMessage()) < 300
    assert record.exc_info is None


@pytest.mark.parametrize("what", ODD)
def test_only_the_chunk_of_an_odd_message_is_kept(what):
    """Its options, callbacks and other headers are removed."""
    envelope, (arguments, keywords, embedded) = unpack(validate_envelope(ODD[what]))
    assert [chunk(*MINE, arguments[0]["scans"])] == arguments
    assert keywords == embedded == {}
    headers = envelope.pop("headers")
    assert headers.keys() == {"lang", "task", "id", "argsrepr", "kwargsrepr"}
    assert headers["task"] == TASK
    assert NAME not in json.dumps([envelope, headers])


def test_copies_of_one_message_do_not_acknowledge_each_other():
    """Each copy gets its own delivery tag, because the broker knows held messages by this tag."""
    raw = message(chunk(*MINE, [[1, "x"]]))
    tags = {json.loads(validate_envelope(raw))["properties"]["delivery_tag"] for _ in range(3)}
    assert len(tags) == 3


def test_a_held_message_comes_back_marked_as_redelivered_and_is_valid_again():
    """The mark shows that the worker of the chunk may have died."""
    entry = json.dumps([json.loads(validate_envelope(message(chunk(*MINE, [[1, "x"]])))), "", queue_of(*MINE)]).encode()
    assert held_queue(entry) == queue_of(*MINE)
    queue, again = redelivered(entry)
    assert queue == queue_of(*MINE)
    assert json.loads(validate_envelope(again))["properties"]["delivery_info"]["redelivered"] is True


@pytest.mark.parametrize("entry", [b"", b"\xff", b"[]", b"[1, 2, 3]", b"[" * 100_000, b'[{"headers": {}}, "a", "b"]'])
def test_entries_of_another_program_are_left_alone(entry):
    """Other programs may share the broker's database."""
    assert redelivered(entry) is None
    assert held_queue(entry) is None


@given(
    raw=st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_arbitrary_bytes_raise_nothing_but_a_refusal(raw):
    """A hostile message must not kill the worker that takes it."""
    with pytest.raises(InvalidMessage):
        validate_envelope(raw)


def test_an_empty_queue_gives_no_message():
    """BRPOP returns nothing after its timeout."""
    assert validate_reply(None) is None
    assert validate_reply([b"score.1", message(chunk(LEDGER, MODEL, [[1, "x"]]))])[0] == b"score.1"


def test_a_chunk_within_the_length_limit_is_valid():
    """A chunk of the longest paths, in letters that JSON escapes to six bytes, is halved until it fits."""
    scans = tuple(ChunkScan(outcome_id=number, location="肺" * 1365) for number in range(1, MAX_SCANS + 1))
    chunk = Chunk(ledger=MINE[0], model=MINE[1], scans=scans)
    while chunk.is_too_long:
        chunk, _ = chunk.halves()
    assert len(chunk.scans) > 500
    assert validate_envelope(message(chunk.to_message()))
