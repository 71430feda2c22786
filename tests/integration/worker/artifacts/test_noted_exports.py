"""The ledger notes the exports of a model, and workers score with no others."""

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import delete, text

from db.engine.session import open_database, read_transaction
from db.errors import UserError
from db.ledger.model_exports import noted_exports
from db.ledger.models import find_model
from db.ledger.outcomes import record_outcomes
from db.schema.tables import ModelExport
from tests.support.ledger import enqueue, ids_of, scored
from tests.support.small_graph import artifact_in, replace_export
from worker.artifacts.exports import read_exports
from worker.artifacts.model_store import open_model_store
from worker.artifacts.registration import accept_exports, check_export, register_artifacts
from worker.messaging.celery_app import make_app
from worker.scoring.open_scorer import open_scorer
from worker.scoring.process import ScoringProcess
from worker.settings import WorkerSettings
from worker.telemetry.counters import ScoringCounters


@pytest.fixture
def artifact(tmp_path):
    return artifact_in(tmp_path)


@pytest.fixture
def models(tmp_path, artifact):
    """A shared folder, of which this machine keeps copies."""
    return open_model_store(str(tmp_path / "models"), tmp_path / "home")


@pytest.fixture
def load(engine):
    """Loads an artifact as a worker does."""
    return lambda artifact: open_scorer(artifact, check_export=partial(check_export, engine, artifact))


def noted(engine, artifact):
    with read_transaction(engine) as connection:
        return noted_exports(connection, find_model(connection, artifact.sha256).id)


def test_registering_a_model_notes_its_exports(engine, artifact, models, load):
    """What is noted is the hash of what a worker loads later."""
    register_artifacts(engine, models)
    assert noted(engine, artifact) == read_exports(artifact).hashes == {"openvino": load(artifact).export_sha256}


def test_a_replaced_export_is_refused_though_its_list_was_replaced_too(engine, artifact, models, load):
    """It would score under the name and hash of the model; nor does Keras take over without a word."""
    register_artifacts(engine, models)
    replace_export(artifact.folder, artifact.sha256)
    with pytest.raises(UserError, match=r"openvino export was replaced: .*'producer model accept-export small'"):
        load(artifact)


def test_an_export_that_comes_later_is_noted_by_the_first_worker_that_loads_it(engine, artifact, models, load):
    """A model may have been registered by an earlier program, or before it was exported."""
    register_artifacts(engine, models)
    with engine.begin() as connection:
        connection.execute(delete(ModelExport))
    first = load(artifact).export_sha256
    assert noted(engine, artifact) == {"openvino": first}
    replace_export(artifact.folder, artifact.sha256)
    with pytest.raises(UserError, match="was replaced"):
        load(artifact)


def test_a_new_export_is_scored_with_once_a_person_accepts_it(engine, artifact, models, load):
    """What is accepted lies in the store; a machine's own copy of an earlier export is still refused."""
    register_artifacts(engine, models)
    copy = models.find(artifact.sha256)
    exports = replace_export(artifact.folder, artifact.sha256)
    model, accepted = accept_exports(engine, models, "small")
    assert (model.sha256, accepted) == (artifact.sha256, exports.hashes)
    assert load(artifact).export_sha256 == exports.hashes["openvino"]
    with pytest.raises(UserError, match="delete the folder if it is a copy"):
        load(copy)


def test_a_model_without_exports_has_none_to_accept(engine, artifact, models):
    """The sentence says how to make one."""
    register_artifacts(engine, models)
    (artifact.folder / "exports.json").unlink()
    with pytest.raises(UserError, match=r"exports\.json: cannot be read .*'trainer export' writes it"):
        accept_exports(engine, models, "small")


def test_a_scoring_process_does_not_start_with_a_replaced_export(tmp_path, artifact, models):
    """What a worker loads is what is checked."""
    settings = WorkerSettings(home=tmp_path / "home", model_dir=models.address, runtime="openvino")
    engine = open_database(settings.database_url)
    register_artifacts(engine, models)
    counters = ScoringCounters(None, artifact.sha256)
    assert "openvino" in ScoringProcess(make_app(settings, "1a2b3c4d5e6f"), settings, artifact.sha256, counters).runtime
    replace_export(models.find(artifact.sha256).folder, artifact.sha256)
    with pytest.raises(UserError, match="was replaced"):
        ScoringProcess(make_app(settings, "1a2b3c4d5e6f"), settings, artifact.sha256, counters)
    engine.dispose()


def test_an_outcome_names_the_export_that_computed_it(engine, tmp_path):
    """Keras' outcomes name none: the model's hash covers its file."""
    run, _ = enqueue(engine, tmp_path)
    by_export, by_keras, *_ = ids_of(engine, run)
    with engine.begin() as connection:
        record_outcomes(connection, [replace(scored(by_export), export_sha256="e" * 64), scored(by_keras)])
        found = connection.execute(
            text("SELECT export_sha256 FROM results_wide WHERE state = 'scored' ORDER BY 1 DESC")
        )
        assert set(found.scalars()) == {"e" * 64, None}
