"""What lies around a command does not change what it does."""

import os

import pytest

from tests.support.celery_variables import HARMLESS, read_by_celery
from worker.environment import isolate_process


@pytest.fixture
def environment(monkeypatch):
    """The environment of this process; what a test changes there is undone."""
    for name in read_by_celery():
        monkeypatch.setenv(name, "redis://127.0.0.1:1/0")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    return os.environ


def test_no_variable_that_celery_reads_survives(environment):
    """A new version of Celery that reads another one fails this test."""
    names = read_by_celery()
    assert {"CELERY_BROKER_URL", "CELERY_CONFIG_MODULE", "DJANGO_SETTINGS_MODULE", "PICKLE_PROTOCOL"} <= names
    isolate_process()
    assert names & environment.keys() <= HARMLESS


def test_what_a_command_starts_imports_nothing_from_the_current_folder_and_keeps_other_variables(
    environment, monkeypatch
):
    """Another person may have filled the folder with scans; the user's own import path stays."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("BROKER_URL", "redis://another")
    isolate_process()
    assert environment["PYTHONSAFEPATH"] == "1"
    assert (environment["PYTHONPATH"], environment["BROKER_URL"]) == ("/somewhere", "redis://another")
