"""A message that is not exactly a chunk is refused in a short sentence."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.messaging.messages import FORMAT_VERSION, MAX_SCANS, Chunk, ChunkScan, InvalidMessage, queue_of

LEDGER = "1a2b3c4d5e6f"
MODEL = "0123456789abcdef" * 4
scans = st.builds(
    ChunkScan, outcome_id=st.integers(1, 2**53), location=st.text(st.characters(codec="utf-8"), min_size=1)
)
chunks = st.builds(
    Chunk, ledger=st.just(LEDGER), model=st.just(MODEL), scans=st.lists(scans, min_size=1, max_size=20).map(tuple)
)


def message(**changes):
    return {
        "version": FORMAT_VERSION,
        "ledger": LEDGER,
        "model": MODEL,
        "scans": [[7, "/images/00000013_005.png"]],
        **changes,
    }


def refusal(wire):
    """The sentence with which a message is refused."""
    with pytest.raises(InvalidMessage) as caught:
        Chunk.from_message(wire)
    sentence = str(caught.value)
    assert len(sentence) < 300
    assert "\n" not in sentence
    # A refusal is logged, and a location holds a patient's number.
    assert "00000013_005" not in sentence
    return sentence


@given(chunk=chunks)
def test_a_chunk_survives_json(chunk):
    """A chunk arrives as it was sent, with every location unchanged."""
    assert Chunk.from_message(json.loads(json.dumps(chunk.to_message()))) == chunk


def test_the_printed_form_shows_ids_and_no_location():
    """Logs and events show the printed form, and file names contain patient ids."""
    chunk = Chunk(
        ledger=LEDGER,
        model=MODEL,
        scans=(
            ChunkScan(outcome_id=12, location="/data/00000013_005.png"),
            ChunkScan(outcome_id=9, location="s3://bucket/00000014_000.png"),
        ),
    )
    assert chunk.printed == "(outcomes 9-12, 2 scans)"
    assert Chunk(ledger=LEDGER, model=MODEL, scans=()).printed == "(empty)"


@given(chunk=chunks)
def test_halves_together_are_the_chunk_in_order(chunk):
    """No scan is lost or duplicated, and a chunk of two or more gets smaller."""
    first, second = chunk.halves()
    assert first.scans + second.scans == chunk.scans
    assert {(half.ledger, half.model) for half in (first, second)} == {(chunk.ledger, chunk.model)}
    if len(chunk.scans) > 1:
        assert abs(len(first.scans) - len(second.scans)) <= 1


def test_a_queue_belongs_to_one_ledger_and_one_model():
    """A worker receives only chunks of its ledger for its model."""
    assert (
        Chunk(ledger=LEDGER, model=MODEL, scans=()).queue
        == queue_of(LEDGER, MODEL)
        == "score.1a2b3c4d5e6f.0123456789ab"
    )


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_version_is_refused_with_both_numbers(version):
    """The message is not interpreted, and the sentence gives both versions."""
    sentence = refusal(message(version=version))
    assert f"version {version}" in sentence
    assert f"reads {FORMAT_VERSION}" in sentence


@pytest.mark.parametrize(
    "wire",
    [
        None,
        "score everything",
        [],
        {},
        message(version="1"),
        message(version=True),
        message(version=1.0),
        message(model="../../etc"),
        message(model=MODEL.upper()),
        message(model=MODEL + "\n"),
        message(model=None),
        message(ledger=None),
        message(ledger="../../etc"),
        message(ledger=LEDGER.upper()),
        message(ledger=LEDGER + "\n"),
        message(scans=None),
        message(scans={"7": "/images/00000013_005.png"}),
        message(scans=[7, "/images/00000013_005.png"]),
        message(scans=[["7", "/images/00000013_005.png"]]),
        message(scans=[[7.0, "/images/00000013_005.png"]]),
        message(scans=[[True, "/images/00000013_005.png"]]),
        message(scans=[[7]]),
        message(scans=[[7, "/images/00000013_005.png", "more"]]),
        message(scans=[[7, None]]),
        message(scans=[[7, {"/images/00000013_005.png": 1}]]),
        message(scans=[[7, b"/images/00000013_005.png"]]),
        message(callback="os.system"),
        message(scans=[[number, "/images/00000013_005.png"] for number in range(MAX_SCANS + 1)]),
        pickle.dumps(message()),
    ],
    ids=lambda wire: repr(wire)[:60],
)
def test_a_malformed_chunk_is_refused_without_repeating_it(wire):
    """Wrong types, missing or extra fields and too many scans are refused."""
    refusal(wire)


@given(
    wire=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["version", "ledger", "model", "scans", "x"]), inner)
        ),
    )
)
def test_arbitrary_json_raises_nothing_but_a_refusal(wire):
    """A hostile message must not kill the worker that reads it."""
    refusal(wire)


@pytest.mark.parametrize("name", ["a\n2026-11-26 INFO all is well", "\x1b[2J", "00000013_005.png"])
def test_an_unknown_field_is_not_repeated_in_the_log(name):
    """Its name could look like a log line, clear a terminal, or contain a patient id."""
    message = Chunk(ledger=LEDGER, model=MODEL, scans=(ChunkScan(outcome_id=1, location="/a.png"),)).to_message()
    with pytest.raises(InvalidMessage) as caught:
        Chunk.from_message({**message, name: 1})
    assert name not in str(caught.value)
    assert str(caught.value).isprintable()
