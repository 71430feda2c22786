"""Untrusted bytes, names and folders do no harm."""

import os

import pytest
from kombu.exceptions import ContentDisallowed
from kombu.serialization import dumps, loads

from db.engine.session import address_of, make_engine
from db.errors import UserError
from worker.entry_point import printable, run_command
from worker.messaging.celery_app import make_app
from worker.messaging.embedded_broker import broker_url, socket_path
from worker.settings import WorkerSettings


@pytest.fixture
def settings(tmp_path, short_folder, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    return WorkerSettings(home=tmp_path)


def test_tasks_events_and_results_are_only_json(settings):
    """Tasks, events and results are never pickled, because a pickle can run code."""
    conf = make_app(settings, "1a2b3c4d5e6f").conf
    assert list(conf.accept_content) == ["json"]
    assert conf.result_accept_content is None
    assert (conf.task_serializer, conf.event_serializer, conf.result_serializer) == ("json", "json", "json")
    assert conf.task_ignore_result
    assert not conf.worker_enable_remote_control


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb",)


def test_a_pickle_is_refused_before_it_is_read(settings, tmp_path, monkeypatch):
    """A pickle is refused by its content type, before its first byte is read."""
    monkeypatch.chdir(tmp_path)
    content_type, encoding, body = dumps(Bomb(), serializer="pickle")
    with pytest.raises(ContentDisallowed):
        loads(body, content_type, encoding, accept=make_app(settings, "1a2b3c4d5e6f").conf.accept_content)
    assert not (tmp_path / "bomb").exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:canary@h/d",
        "postgresql://u@h/d?password=canary",
        "postgresql://u@h/d?host=/run/pg&sslpassword=canary&passfile=canary",
    ],
)
def test_a_databases_address_is_shown_without_its_secrets(url):
    """The shown address holds no password, neither of its user nor among its options, where libpq accepts one too."""
    shown = address_of(make_engine(url))
    assert "canary" not in shown
    assert "/d" in shown


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://u:canary@h:port/d", "not a database address"),
        ("canary://h/d", "not a database address"),
        ("canary", "not a database address"),
        ("mysql://u:canary@h/d", "not a database address"),
        ("postgresql://u:not@canary@h/d", "%40"),
        ("postgresql://u:p@h/d\ncanary", "line break"),
    ],
)
def test_a_wrong_database_address_gives_one_sentence_that_does_not_repeat_it(url, sentence):
    """The error does not repeat the address, which may hold a password in the wrong place."""
    with pytest.raises(UserError, match=f"^CXR_DATABASE_URL: .*{sentence}") as caught:
        make_engine(url)
    assert "canary" not in str(caught.value)


def test_the_broker_does_not_use_a_folder_of_another_user(settings, tmp_path):
    """A folder that another user made first is refused, because that user could read every message."""
    folder = socket_path(settings).parent
    assert broker_url(settings) == f"redis+socket://{folder}/broker.sock"
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="belongs to another user; set XDG_RUNTIME_DIR"):
        broker_url(settings)


def test_names_do_not_control_the_terminal(capsys):
    """Codes in a file name that clear the screen or forge the next line are not printed."""
    assert printable("a\x1b[2J\r\x9b1m.png\nä") == "a\ufffd[2J\ufffd\ufffd1m.png\nä"

    def command():
        raise UserError("\x1b]0;title\x07.csv: cannot be read")

    with pytest.raises(SystemExit):
        run_command(command)
    assert "\x1b" not in capsys.readouterr().err
