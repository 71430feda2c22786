"""An artifact that cannot be registered stops nothing but itself, on either database."""

import logging
import shutil

import pytest

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.models import list_models
from tests.support.broken_artifacts import LISTED, VERIFIED, half_copied, other, taken_name
from tests.support.world import hash_artifact
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.registration import UnusableFolderLog, register_artifacts

PROBLEMS = {**LISTED, **VERIFIED}


@pytest.fixture
def good(tmp_path):
    return hash_artifact(tmp_path / "models", name="good")


@pytest.fixture
def models(good):
    return FolderModelStore(good.folder.parent)


def names(engine):
    with read_transaction(engine) as connection:
        return [model.name for model in list_models(connection)]


def find(engine, registration, wanted):
    with read_transaction(engine) as connection:
        return registration.find_model(connection, wanted)


@pytest.mark.parametrize("break_one", PROBLEMS, ids=lambda broken: broken.__name__)
def test_a_broken_folder_stops_nothing_but_itself(engine, models, break_one):
    """The whole artifacts before and after it are registered, and its problem is one sentence."""
    broken = break_one(models.folder)
    hash_artifact(models.folder, name="later", model=b"a third model")
    registration = register_artifacts(engine, models)
    assert names(engine) == [model.name for model in registration.new] == ["good", "later"]
    (folder,) = registration.unusable
    assert folder.name == broken.name
    assert "Mrs Roe" not in folder.problem, "workers log this sentence"
    with pytest.raises(UserError, match=PROBLEMS[break_one]) as caught:
        find(engine, registration, broken.name)
    assert str(caught.value).startswith(str(broken))
    assert find(engine, registration, None).name == "good"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_name_that_the_database_cannot_store_stops_nothing_but_itself(engine, models):
    """PostgreSQL stores no NUL; a manifest may have one."""
    other(models.folder, name="a\0b")
    registration = register_artifacts(engine, models)
    assert names(engine) == ["good"]
    assert [folder.problem.isprintable() for folder in registration.unusable] == [True]


def test_a_half_copied_artifact_is_registered_once_it_is_whole(engine, models, tmp_path):
    """A copy that is still going on needs no command but the next one."""
    whole = other(tmp_path / "elsewhere")
    half_copied(models.folder)
    register_artifacts(engine, models)
    shutil.copytree(whole, models.folder / whole.name, dirs_exist_ok=True)
    registration = register_artifacts(engine, models)
    assert (names(engine), registration.unusable) == (["good", "other"], [])


def test_only_a_wanted_model_is_refused_for_its_folder(engine, models):
    """A name that two artifacts have is that of the registered one; a broken one is refused by name and by hash."""
    taken_name(models.folder)
    broken = half_copied(models.folder)
    registration = register_artifacts(engine, models)
    assert find(engine, registration, "good").active
    for wanted in ("other", broken.name):
        with pytest.raises(UserError, match=r"lacks model\.keras"):
            find(engine, registration, wanted)
    with pytest.raises(UserError, match="no model 'nobody' is registered"):
        find(engine, registration, "nobody")


def test_if_no_model_is_whole_the_reason_is_given(engine, tmp_path):
    """Not only that there is no model."""
    half_copied(tmp_path / "models")
    registration = register_artifacts(engine, FolderModelStore(tmp_path / "models"))
    with pytest.raises(UserError, match=r"lacks model\.keras"):
        find(engine, registration, None)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_problem_is_logged_once(engine, models, caplog):
    """And again if it comes back after it was gone."""
    half_copied(models.folder)
    unusable, log = register_artifacts(engine, models).unusable, UnusableFolderLog(logging.getLogger(__name__))
    for now, expected in ((unusable, 1), (unusable, 1), ([], 1), (unusable, 2)):
        log.report(now)
        assert caplog.text.count("a model folder is ignored: ") == expected
