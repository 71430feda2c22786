"""Settings come from CXR_* variables or the files that their _FILE twins name."""

import os
from pathlib import Path

import pytest

from db.errors import UserError
from db.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """No setting of the machine that runs the tests."""
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)


def test_everything_lies_in_the_home_by_default(monkeypatch, tmp_path):
    """CXR_HOME alone decides where the database is."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    settings = load_settings(Settings)
    assert settings.home == tmp_path
    assert settings.database_url == f"sqlite:///{tmp_path}/nightread.sqlite"


def test_without_any_variable_the_home_is_the_users():
    """Nothing is written where the command happens to run."""
    assert load_settings(Settings).home == Path.home() / ".local" / "share" / "nightread"


def test_a_home_is_absolute(monkeypatch, tmp_path):
    """A relative home or ~ means the same to every process, wherever it runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXR_HOME", "here")
    assert load_settings(Settings).home == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CXR_HOME", "~/there")
    assert load_settings(Settings).home == tmp_path / "there"


def test_a_secret_may_lie_in_a_file(monkeypatch, tmp_path):
    """The content of the _FILE twin counts, without the line end that editors add; the variable itself comes first."""
    (tmp_path / "secret").write_text("postgresql://u:p@h/d\n")
    monkeypatch.setenv("CXR_DATABASE_URL_FILE", str(tmp_path / "secret"))
    assert load_settings(Settings).database_url == "postgresql://u:p@h/d"
    monkeypatch.setenv("CXR_DATABASE_URL", "sqlite:////plain")
    assert load_settings(Settings).database_url == "sqlite:////plain"


def test_an_unreadable_twin_is_named(monkeypatch, tmp_path):
    """The error names the variable, the file and the cause."""
    monkeypatch.setenv("CXR_DATABASE_URL_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"^CXR_DATABASE_URL_FILE: .*nowhere cannot be read \(No such file"):
        load_settings(Settings)
