"""What the ledger keeps of a removed model: its scores and what they rest on, and nothing where it has none."""

import pytest
from sqlalchemy import func, select, update

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.cancel_run import cancel_run
from db.ledger.model_exports import note_exports
from db.ledger.models import UsedScan, activate, check_not_removed, find_model, registered_hashes, remove_model
from db.schema.tables import Model, ModelExport, ModelScan, Run
from tests.support.ledger import a_model, enqueue, score_all

M, OTHER = "m" * 64, "o" * 64


@pytest.fixture
def models(engine):
    """The active model `other`, and `m`, which was fitted on a scan and has an export."""
    with engine.begin() as connection:
        used = [UsedScan(image_name="a.png", patient_id="1", subset="train")]
        note_exports(connection, a_model(connection, M, used=used).id, {"onnx": "e" * 64})
        a_model(connection, OTHER, name="other")
        activate(connection, "other")
    return engine


def remove(engine, wanted):
    with engine.begin() as connection:
        return remove_model(connection, wanted)


def counts(engine):
    with read_transaction(engine) as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (Model, ModelScan, ModelExport)
        ]


def test_of_a_model_without_outcomes_nothing_stays(models):
    """Its name is free again."""
    removed = remove(models, "m")
    assert (removed.sha256, removed.is_kept) == (M, False)
    assert counts(models) == [1, 0, 0]
    with models.begin() as connection:
        a_model(connection, "n" * 64)


def test_a_model_with_outcomes_keeps_its_row_and_cannot_score_until_it_is_registered_again(models, tmp_path):
    """Its scans of the fit stay too: they tell which of its scores are held out."""
    with models.begin() as connection:
        activate(connection, "m")
    run, _ = enqueue(models, tmp_path)
    score_all(models, run)
    with models.begin() as connection:
        activate(connection, "other")
    removed = remove(models, M[:12])
    assert (removed.outcomes, removed.runs, removed.is_kept) == (4, 1, True)
    assert counts(models) == [2, 1, 1]
    with models.begin() as connection:
        assert registered_hashes(connection) == {OTHER}
        with pytest.raises(UserError, match=r"model m .* was removed"):
            check_not_removed(find_model(connection, "m"))
        check_not_removed(a_model(connection))
        assert registered_hashes(connection) == {M, OTHER}


def test_the_active_model_is_not_removed(models):
    """The next run would have none."""
    with pytest.raises(UserError, match="other is the active one"):
        remove(models, "other")


@pytest.mark.parametrize("is_stopped", [False, True], ids=["open", "stopped"])
def test_a_model_that_scans_wait_for_is_not_removed_until_its_run_is_cancelled(models, tmp_path, is_stopped):
    """A stopped run can be resumed, so its scans count as well."""
    run, _ = enqueue(models, tmp_path)
    if is_stopped:
        with models.begin() as connection:
            connection.execute(update(Run).values(stopped_at=func.now(), stop_reason="x"))
    with pytest.raises(UserError, match=r"scans wait for it \(4\)"):
        remove(models, "m")
    cancel_run(models, run)
    assert remove(models, "m").is_kept
