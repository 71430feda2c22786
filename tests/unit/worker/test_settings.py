"""Settings of the queue and of the models, and the one sentence that each mistake in them becomes."""

import os

import pytest

from db.errors import UserError
from db.settings import load_settings
from worker.settings import ModelSettings, WorkerSettings


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """No setting of the machine that runs the tests."""
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)


def test_the_home_decides_where_models_pixels_and_broker_are(monkeypatch, tmp_path):
    """Without any other variable: the broker is the machine's own."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    assert load_settings(ModelSettings).model_dir == str(tmp_path / "models")
    settings = load_settings(WorkerSettings)
    assert settings.model_dir == str(tmp_path / "models")
    assert settings.pixel_cache == tmp_path / "pixels"
    assert settings.owns_broker


@pytest.mark.parametrize(("name", "value"), [("broker_url", "redis://:s@h:1/0"), ("model_dir", "s3://bucket/models")])
def test_a_secret_may_lie_in_a_file(monkeypatch, tmp_path, name, value):
    """Also one of a subclass's settings."""
    (tmp_path / "secret").write_text(f"{value}\n")
    monkeypatch.setenv(f"CXR_{name.upper()}_FILE", str(tmp_path / "secret"))
    assert getattr(load_settings(WorkerSettings), name) == value


@pytest.mark.parametrize("name", ["CXR_BROKER_URL", "CXR_CHUNK_SIZE"])
def test_the_trainer_does_not_read_the_settings_of_the_queue(monkeypatch, name):
    """A mistake in one of them does not end a fit."""
    monkeypatch.setenv(name, "nonsense")
    assert load_settings(ModelSettings)


@pytest.mark.parametrize(
    "url", ["foo://:secret@h", "redis://h:abc/0", "redis://:secret@h:1/x", "h:6379", "amqp://h", "redis://[h"]
)
def test_an_address_of_no_broker_is_one_sentence_without_its_password(monkeypatch, url):
    """A mistyped address is told at once, not by a traceback once the work is committed."""
    monkeypatch.setenv("CXR_BROKER_URL", url)
    with pytest.raises(UserError, match=r"CXR_BROKER_URL: .*not a broker's address") as caught:
        load_settings(WorkerSettings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h", "rediss://:s@h:1/0?ssl_cert_reqs=none", "redis+socket:///run/b.sock"])
def test_an_address_of_a_broker_is_taken_as_it_is(monkeypatch, url):
    """With a password, with a number, or a socket."""
    monkeypatch.setenv("CXR_BROKER_URL", url)
    assert load_settings(WorkerSettings).broker_url == url


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
    """In one sentence; a person knows the variable, not the field."""
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"^{name}: ") as caught:
        load_settings(WorkerSettings)
    assert "\n" not in str(caught.value)


def test_a_refusal_shows_no_secret(monkeypatch):
    """What a variable holds may be a password."""
    monkeypatch.setenv("CXR_CHUNK_SIZE", "hunter2")
    with pytest.raises(UserError) as caught:
        load_settings(WorkerSettings)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", [ModelSettings, WorkerSettings])
def test_codes_to_admit_are_listed_with_commas(monkeypatch, kind):
    """The trainer reads them too. Without any, nothing is admitted."""
    assert load_settings(kind).admitted == frozenset()
    monkeypatch.setenv("CXR_ADMIT", " view,secondary_capture, ")
    assert load_settings(kind).admitted == {"view", "secondary_capture"}


def test_an_unknown_code_to_admit_is_one_sentence_that_lists_the_known_ones(monkeypatch):
    """A mistyped code must not have a night's films rejected."""
    monkeypatch.setenv("CXR_ADMIT", "view,secondary")
    with pytest.raises(
        UserError, match=r"^CXR_ADMIT: .*'secondary'.* sop_class, secondary_capture, .*window$"
    ) as caught:
        load_settings(WorkerSettings)
    assert "\n" not in str(caught.value)
