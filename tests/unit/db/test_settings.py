"""Settings come from CXR_* variables or the files that their _FILE twins name."""

from pathlib import Path

import pytest

from db.errors import UserError
from db.settings import Settings, load_settings
from worker.settings import WorkerSettings


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """Removes the settings of the machine that runs the tests."""
    import os

    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)


def test_everything_lies_in_the_home_by_default(monkeypatch, tmp_path):
    """CXR_HOME alone decides where database and models are, and that the broker is the machine's own."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    settings = load_settings(Settings)
    assert settings.home == tmp_path
    assert settings.database_url == f"sqlite:///{tmp_path}/nightread.sqlite"
    assert settings.model_dir == str(tmp_path / "models")
    assert settings.owns_broker


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("database_url", "postgresql://u:p@h/d"), ("broker_url", "redis://:s@h:1/0"), ("model_dir", "/models")],
)
def test_a_secret_may_lie_in_a_file(monkeypatch, tmp_path, name, value):
    """The _FILE twin's content counts, without the line end that editors add."""
    (tmp_path / "secret").write_text(f"{value}\n")
    monkeypatch.setenv(f"CXR_{name.upper()}_FILE", str(tmp_path / "secret"))
    for kind in (Settings, WorkerSettings):
        assert str(getattr(load_settings(kind), name)) == value
    monkeypatch.setenv(f"CXR_{name.upper()}", "/plain")
    assert str(getattr(load_settings(Settings), name)) == "/plain"


@pytest.mark.parametrize(
    "url", ["foo://:secret@h", "redis://h:abc/0", "redis://:secret@h:1/x", "h:6379", "amqp://h", "redis://[h"]
)
def test_an_invalid_broker_address_is_one_sentence_without_its_password(monkeypatch, url):
    """A mistyped address is reported at once, not by a traceback after the work was committed."""
    monkeypatch.setenv("CXR_BROKER_URL", url)
    with pytest.raises(UserError, match=r"CXR_BROKER_URL: .*not a broker's address") as caught:
        load_settings(WorkerSettings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h", "rediss://:s@h:1/0?ssl_cert_reqs=none", "redis+socket:///run/b.sock"])
def test_a_valid_broker_address_stays_as_it_is(monkeypatch, url):
    """It may have a password, a database number, or a socket."""
    monkeypatch.setenv("CXR_BROKER_URL", url)
    assert load_settings(WorkerSettings).broker_url == url


def test_an_unreadable_twin_is_named(monkeypatch, tmp_path):
    """The error names the variable, the file and the cause."""
    monkeypatch.setenv("CXR_DATABASE_URL_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"^CXR_DATABASE_URL_FILE: .*nowhere cannot be read \(No such file"):
        load_settings(Settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CXR_CHUNK_SIZE", "many"),
        ("CXR_CHUNK_SIZE", "0"),
        ("CXR_TIME_BUDGET", "-1"),
        ("CXR_VISIBILITY_TIMEOUT", "0"),
        ("CXR_DECODE_THREADS", "0"),
        ("CXR_PRECISION", "int7"),
    ],
)
def test_an_impossible_value_names_its_variable(monkeypatch, name, value):
    """The error is one sentence; the user knows the variable, not the field."""
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"^{name}: ") as caught:
        load_settings(WorkerSettings)
    assert "\n" not in str(caught.value)


def test_a_refusal_shows_no_secret(monkeypatch):
    """A variable may hold a password."""
    monkeypatch.setenv("CXR_CHUNK_SIZE", "hunter2")
    with pytest.raises(UserError) as caught:
        load_settings(WorkerSettings)
    assert "hunter2" not in str(caught.value)
