"""A broker that refuses this program is told from one that does not answer, and the sentence repeats no password."""

import pytest

from db.errors import TemporaryError, UserError
from tests.support.valkey import Valkey
from worker.messaging.broker_check import check_broker
from worker.messaging.broker_errors import BrokerRefused
from worker.messaging.celery_app import make_app, nothing_in_flight, send_chunk, waiting_chunks
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

LEDGER, MODEL = "1a2b3c4d5e6f", "a" * 64
CHUNK = Chunk(ledger=LEDGER, model=MODEL, scans=(ChunkScan(outcome_id=1, location="/x.png"),))
NEEDED = ("~score.*", "~unacked*", "~nightread.*", "~_kombu.*", "+@all", "-@dangerous", "-@admin")


@pytest.fixture(scope="module")
def port():
    """A broker with a user `right`, and one for each thing that a user may lack."""
    valkey = Valkey()
    users = {"right": (), "no-taking": ("-brpop",), "no-sending": ("-lpush",), "no-queues": ("resetkeys", "~unacked*")}
    for name, rules in users.items():
        valkey.client.execute_command("ACL", "SETUSER", name, "on", ">canary", *NEEDED, *rules)
    valkey.client.execute_command("ACL", "SETUSER", "default", "off")
    yield valkey.port
    valkey.close()


def app_for(port, user="right:canary", database=0):
    return make_app(WorkerSettings(broker_url=f"redis://{user}@127.0.0.1:{port}/{database}"), LEDGER)


def test_a_user_with_what_a_worker_needs_is_not_refused(port):
    """The check leaves nothing in the broker, and takes nothing from a queue."""
    app = app_for(port)
    send_chunk(app, CHUNK)
    check_broker(app)
    assert waiting_chunks(app, [MODEL]) == {MODEL: 1}
    assert not nothing_in_flight(app, MODEL)


@pytest.mark.parametrize(
    ("user", "database", "cause"),
    [
        ("right:canary2", 0, "invalid username-password pair"),
        (":canary2", 0, "invalid username-password pair"),
        ("nobody:canary2", 0, "invalid username-password pair"),
        ("right:canary", 99, "DB index is out of range"),
        ("no-taking:canary", 0, "brpop"),
        ("no-sending:canary", 0, "lpush"),
        ("no-queues:canary", 0, "No permissions to access a key"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_brokers_own_cause(port, user, database, cause):
    """A worker would wait for ever for what only a person can correct."""
    with pytest.raises(UserError, match=f"^CXR_BROKER_URL: the broker refuses this program .*{cause}") as caught:
        check_broker(app_for(port, user, database))
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("user", "database"), [("right:canary2", 0), ("right:canary", 99), ("no-sending:canary", 0)])
def test_a_chunk_that_is_refused_is_a_refusal_and_for_a_worker_temporary(port, user, database):
    """A producer ends with the sentence; a worker that runs tries again."""
    with pytest.raises(BrokerRefused) as caught:
        send_chunk(app_for(port, user, database), CHUNK)
    assert isinstance(caught.value, TemporaryError)


def test_a_broker_that_does_not_answer_is_no_refusal(caplog):
    """It may answer later: a worker waits for it, and a producer leaves the work to SQL."""
    app = app_for(1)
    check_broker(app)
    assert "the broker does not answer" in caplog.text
    with pytest.raises(TemporaryError) as caught:
        send_chunk(app, CHUNK)
    assert not isinstance(caught.value, BrokerRefused)
