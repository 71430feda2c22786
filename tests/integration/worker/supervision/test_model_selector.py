"""A supervisor's look at the fleet's models, on either database."""

import errno

import pytest

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.models import activate, find_model, read_demand
from db.ledger.outcomes import count_pending
from tests.support.ledger import enqueue, score_all
from tests.support.world import hash_artifact
from worker.artifacts.manifest import MODEL_FILE
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.registration import register_artifacts
from worker.supervision.model_selector import RETRY, ModelSelector


class Clock:
    """Seconds, moved by hand."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def models(tmp_path):
    return FolderModelStore(tmp_path / "models")


@pytest.fixture
def follower(engine, models):
    return ModelSelector(engine, models)


@pytest.fixture
def first(models, follower):
    """The model that is served."""
    hash_artifact(models.folder, name="first")
    return follower.look(None)


@pytest.fixture
def second(engine, models, first):
    """A later model, active now."""
    hash_artifact(models.folder, name="second")
    register_artifacts(engine, models)
    with engine.begin() as connection:
        return activate(connection, "second")


def rewrite(models, model, content):
    (models.folder / model.sha256[:12] / MODEL_FILE).write_bytes(content)


def test_the_first_model_is_waited_for(follower, models):
    """Nothing is there until somebody publishes; then it is registered and served."""
    assert follower.look(None) is None
    hash_artifact(models.folder, name="first")
    assert follower.look(None).name == "first"


def test_a_first_model_that_cannot_be_had_is_a_mistake(engine, follower, models):
    """There is nothing else to serve."""
    artifact = hash_artifact(models.folder, name="first")
    register_artifacts(engine, models)
    (artifact.folder / MODEL_FILE).write_bytes(b"other weights")
    with pytest.raises(UserError, match="damaged"):
        follower.look(None)


def test_the_active_model_is_followed(follower, first, second):
    """And the former one again once that is active."""
    assert follower.look(first).name == "second"
    assert follower.look(second).name == "second"


def test_a_model_that_is_damaged_is_left_alone_for_a_while(engine, models, first, second, caplog):
    """One sentence, then silence until it may be tried again; what is served goes on."""
    clock = Clock()
    follower = ModelSelector(engine, models, clock)
    rewrite(models, second, b"other weights")
    for _ in range(3):
        assert follower.look(first) == first
    assert caplog.text.count("model second cannot be served") == 1
    rewrite(models, second, b"not a model")
    clock.now += RETRY - 1
    assert follower.look(first) == first
    clock.now += 1
    assert follower.look(first).name == "second"


def test_a_share_that_fails_while_a_model_is_served_is_left_alone_for_a_while(engine, models, first, second, caplog):
    """Nothing is raised: the look for lost work, which comes next, must not wait for the share."""

    class Failing(FolderModelStore):
        def find(self, sha256):
            raise OSError(errno.ESTALE, "Stale file handle")

    assert ModelSelector(engine, Failing(models.folder)).look(first) == first
    assert caplog.text.count("model second cannot be served") == 1


def test_demand_is_the_active_model_and_those_that_scans_wait_for(engine, tmp_path):
    """A finished run's model is not wanted any more."""
    with read_transaction(engine) as connection:
        assert (read_demand(connection).active, read_demand(connection).with_work) == (None, ())
    run_id, _ = enqueue(engine, tmp_path)
    with read_transaction(engine) as connection:
        model = find_model(connection, "m")
        assert (read_demand(connection).active, read_demand(connection).with_work) == (model, (model,))
        assert count_pending(connection, model.id) == 4
    score_all(engine, run_id)
    with read_transaction(engine) as connection:
        assert (read_demand(connection).active, read_demand(connection).with_work) == (model, ())
        assert count_pending(connection, model.id) == 0
