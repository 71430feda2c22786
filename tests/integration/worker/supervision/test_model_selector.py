"""Which model a supervisor selects, on either database."""

import errno

import pytest

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.models import activate, find_model, read_demand
from db.ledger.outcomes import count_pending
from tests.support.fake_clock import Clock
from tests.support.ledger import enqueue, score_all
from tests.support.world import hash_artifact
from worker.artifacts.manifest import MODEL_FILE
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.registration import register_artifacts
from worker.supervision.model_selector import RETRY_AFTER, ModelSelector


@pytest.fixture
def models(tmp_path):
    return FolderModelStore(tmp_path / "models")


@pytest.fixture
def selector(engine, models):
    return ModelSelector(engine, models)


@pytest.fixture
def first(models, selector):
    """The model that is served."""
    hash_artifact(models.folder, name="first")
    return selector.select(None)


@pytest.fixture
def second(engine, models, first):
    """A later model, active now."""
    hash_artifact(models.folder, name="second")
    register_artifacts(engine, models)
    with engine.begin() as connection:
        return activate(connection, "second")


def rewrite(models, model, content):
    (models.folder / model.sha256[:12] / MODEL_FILE).write_bytes(content)


def test_the_first_model_is_waited_for(selector, models):
    """There is no model until one is published; then it is registered and served."""
    assert selector.select(None) is None
    hash_artifact(models.folder, name="first")
    assert selector.select(None).name == "first"


def test_a_first_model_that_cannot_be_had_is_a_mistake(engine, selector, models):
    """There is nothing else to serve."""
    artifact = hash_artifact(models.folder, name="first")
    register_artifacts(engine, models)
    (artifact.folder / MODEL_FILE).write_bytes(b"other weights")
    with pytest.raises(UserError, match="damaged"):
        selector.select(None)


def test_a_broken_folder_does_not_hide_the_first_model(selector, models, caplog):
    """It is logged once, however often the first model is looked for."""
    (hash_artifact(models.folder, name="broken").folder / MODEL_FILE).unlink()
    for _ in range(3):
        assert selector.select(None) is None
    assert caplog.text.count("a model folder is ignored: ") == 1
    hash_artifact(models.folder, name="first")
    assert selector.select(None).name == "first"


def test_a_model_that_scans_wait_for_and_that_is_not_there_keeps_no_worker_from_starting(engine, models, first, caplog):
    """The worker serves the active model, and tries the other one again later."""
    enqueue(engine, models.folder)
    assert ModelSelector(engine, models).select(None) == first
    assert caplog.text.count("model m cannot be served; trying it again in 5 minutes") == 1


def test_the_active_model_is_followed(selector, first, second):
    """And the former one again once that is active."""
    assert selector.select(first).name == "second"
    assert selector.select(second).name == "second"


def test_a_model_that_is_damaged_is_left_alone_for_a_while(engine, models, first, second, caplog):
    """One sentence, then silence until it may be tried again; what is served goes on."""
    clock = Clock()
    selector = ModelSelector(engine, models, clock)
    rewrite(models, second, b"other weights")
    for _ in range(3):
        assert selector.select(first) == first
    assert caplog.text.count("model second cannot be served") == 1
    rewrite(models, second, b"not a model")
    clock.now += RETRY_AFTER - 1
    assert selector.select(first) == first
    clock.now += 1
    assert selector.select(first).name == "second"


def test_a_share_that_fails_while_a_model_is_served_is_left_alone_for_a_while(engine, models, first, second, caplog):
    """No error is raised: the search for lost work, which comes next, must not wait for the share."""

    class Failing(FolderModelStore):
        def find(self, sha256):
            raise OSError(errno.ESTALE, "Stale file handle")

    assert ModelSelector(engine, Failing(models.folder)).select(first) == first
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
