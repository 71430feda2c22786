"""Sending summaries: real servers accept them, refuse them, or do not answer."""

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from db.errors import TemporaryError, UserError
from db.settings import load_settings
from producer.nightly.notifications import open_channels
from producer.nightly.settings import NightlySettings
from producer.nightly.summary import Summary, headline, to_text
from tests.support.documents import ROOT
from tests.support.notification_servers import CERTIFICATE, mail_server, server_tls, webhook
from tests.support.world import free_port

OPENED = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
SUMMARY = Summary(
    run_id=7,
    night="2026-11-25",
    model="ours",
    model_sha256="0123456789abcdef" * 4,
    cancelled=False,
    stop_reason=None,
    expected=1_210,
    scored=1_204,
    runtimes={"openvino 2026.4.1 bfloat16": 1_204},
    rejected={"missing": 2, "truncated": 3},
    quarantined=1,
    pending=0,
    reused=1_000,
    created_at=OPENED,
    finished_at=OPENED + timedelta(minutes=2),
    seconds=120.0,
    scans_per_second=31.25,
    finding="Abnormal",
    subset="held_out",
    subset_name="held-out scans",
    auroc=0.8125,
    auroc_low=0.7511,
    auroc_high=0.8624,
    interval_note="95% intervals are clustered by patient.",
    positives=40,
    negatives=160,
    new_scans=208,
    scored_tonight=206,
    rejected_tonight={"truncated": 3},
    quarantined_tonight=1,
    conflicts=2,
    left_out={"other_name": 12, "symlinked_folder": 1},
    notes={"view_unknown": 7},
    drift_alarm=False,
    drift_p_value=0.35,
    drift_shift="view AP 37% of scans (reference 35%), +1.2 deviations",
    drift_not_judged=None,
    drift_reference_scans=6_240,
    drift_note="Drift: no alarm. Nothing shows that night 2026-11-25 differs from the 30 nights before it.",
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """Remove settings and proxies of the machine that runs the tests."""
    import os

    for name in [name for name in os.environ if name.startswith("CXR_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def channel(monkeypatch, **settings):
    for name, value in settings.items():
        monkeypatch.setenv(f"CXR_{name.upper()}", value)
    (only,) = open_channels(load_settings(NightlySettings))
    return only


def mail_channel(monkeypatch, url, to="a@ward.example, b@ward.example"):
    return channel(monkeypatch, smtp_url=url, mail_from="nightread@ward.example", mail_to=to)


def test_a_webhook_gets_every_field_as_json(monkeypatch):
    """Moments in ISO 8601, undefined as null, the token in the address kept."""
    with webhook() as server:
        channel(monkeypatch, webhook_url=server.url).send(dataclasses.replace(SUMMARY, auroc=None))
    ((path, kind, body),) = server.taken
    assert (path, kind) == ("/hook?token=hunter2", "application/json")
    expected = dataclasses.asdict(SUMMARY) | {
        "auroc": None,
        "created_at": "2026-11-25T01:00:00+00:00",
        "finished_at": "2026-11-25T01:02:00+00:00",
    }
    assert json.loads(body) == expected


@pytest.mark.parametrize("code", [301, 307, 308, 404, 429, 500])
def test_an_answer_other_than_2xx_is_a_failure_and_redirects_are_not_followed(monkeypatch, code):
    """The error names the host and the status, never the token; the next attempt succeeds."""
    with webhook() as server:
        server.answers.append(code)
        sender = channel(monkeypatch, webhook_url=server.url)
        with pytest.raises(TemporaryError, match=f"the webhook at 127.0.0.1 answers with status {code}$"):
            sender.send(SUMMARY)
        assert (server.asked, server.taken) == (1, [])
        sender.send(SUMMARY)
        assert len(server.taken) == 1


def test_an_unreachable_webhook_is_reported_without_its_token(monkeypatch):
    """The connection is refused."""
    sender = channel(monkeypatch, webhook_url=f"http://127.0.0.1:{free_port()}/hook?token=hunter2")
    with pytest.raises(TemporaryError) as caught:
        sender.send(SUMMARY)
    assert str(caught.value) == "the webhook at 127.0.0.1 does not answer (ConnectionRefusedError)"


def test_a_mail_goes_to_all_recipients_as_text(monkeypatch):
    """Its subject is the headline."""
    with mail_server() as box:
        mail_channel(monkeypatch, f"smtp://127.0.0.1:{box.port}").send(SUMMARY)
    ((recipients, mail, _),) = box.mails
    assert recipients == ["a@ward.example", "b@ward.example"]
    assert (
        mail["Subject"]
        == "nightread: run 7, night 2026-11-25, finished: tonight 206 scored, 4 rejected or quarantined; "
        "in all 1,204 of 1,210 scans scored"
    )
    assert (mail["From"], mail["Auto-Submitted"]) == ("nightread@ward.example", "auto-generated")
    text = mail.get_content()
    assert text.replace("\r\n", "\n") == to_text(SUMMARY)
    accuracy = "Abnormal on held-out scans: AUROC 0.812 (0.751 to 0.862), 40 positive and 160 negative."
    for words in ("1,204  scored", "5  rejected (missing 2, truncated 3)", "31.2 scans/s", accuracy):
        assert words in text


def test_the_text_says_what_is_new_tonight_before_all_else():
    """New scans, what became of them, what a person must settle, and what was left out by reason."""
    tonight, _, rest = to_text(SUMMARY).partition("The whole source")
    assert "expected" in rest
    for words in (
        "208  new",
        "206  scored",
        "3  rejected (truncated 3)",
        "1  quarantined",
        "2  conflicts",
        "13  entries left out (12 files not named like an image, 1 symlinked folder)",
    ):
        assert words in tonight
    assert "left out: not known" in to_text(dataclasses.replace(SUMMARY, left_out=None))
    assert "0  entries left out\n" in to_text(dataclasses.replace(SUMMARY, left_out={}))


def test_every_field_of_the_json_is_documented():
    """The table of docs/operations.md names it."""
    section = (ROOT / "docs" / "operations.md").read_text().partition("### The summary")[2].partition("\n### ")[0]
    assert {field.name for field in dataclasses.fields(Summary)} <= set(re.findall(r"`(\w+)`", section))


def test_only_an_alarm_of_drift_stands_in_the_subject():
    """The text says in any case whether there is one."""
    alarm = dataclasses.replace(SUMMARY, drift_alarm=True, drift_note="ALARM: the whole sentence.")
    assert headline(alarm).startswith("ALARM: drift: view AP 37% of scans (reference 35%), +1.2 deviations; run 7, ")
    assert "\nALARM: the whole sentence.\n" in to_text(alarm)
    assert "\nDrift: no alarm. Nothing shows that" in to_text(SUMMARY)


def test_a_mail_says_if_scores_were_computed_in_more_than_one_way():
    """It gives the number of scans for each way, and no sentence for a single way."""
    mixed = dataclasses.replace(SUMMARY, runtimes={"openvino bfloat16": 1_200, "openvino int8": 4})
    assert (
        "in 2 ways, whose results differ slightly: openvino bfloat16 (1,200 scans), openvino int8 (4 scans).\n"
        in to_text(mixed)
    )
    assert "ways" not in to_text(SUMMARY)


def test_a_mail_server_that_refuses_once_accepts_the_next_attempt(monkeypatch):
    """The error gives the server's code, not its message."""
    with mail_server() as box:
        box.refusals = 1
        sender = mail_channel(monkeypatch, f"smtp://127.0.0.1:{box.port}")
        with pytest.raises(TemporaryError, match=r"the mail server at 127.0.0.1 answers with code 451$"):
            sender.send(SUMMARY)
        sender.send(SUMMARY)
    assert len(box.mails) == 1


def test_the_other_recipients_get_the_mail_if_one_is_refused(monkeypatch, caplog):
    """It is not tried again, or the others would get it twice. If all are refused, sending failed."""
    with mail_server() as box:
        mail_channel(monkeypatch, f"smtp://127.0.0.1:{box.port}", to="nobody@x.example,a@x.example").send(SUMMARY)
        assert [recipients for recipients, _, _ in box.mails] == [["a@x.example"]]
        assert "refuses 1 of the recipients" in caplog.text and "nobody@" not in caplog.text
        with pytest.raises(TemporaryError, match="SMTPRecipientsRefused"):
            mail_channel(monkeypatch, f"smtp://127.0.0.1:{box.port}", to="nobody@x.example").send(SUMMARY)


@pytest.mark.parametrize("password", ["p%40ss%2Fword", "wrong"])
def test_a_password_is_sent_only_after_starttls(monkeypatch, password):
    """It is decoded from the address; a wrong one gives the server's code."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with mail_server(server_tls()) as box:
        sender = mail_channel(monkeypatch, f"smtp://night:{password}@127.0.0.1:{box.port}")
        if password == "wrong":
            with pytest.raises(TemporaryError, match="answers with code 535") as caught:
                sender.send(SUMMARY)
            assert "wrong" not in str(caught.value)
            return
        sender.send(SUMMARY)
    assert box.logins == [("night", "p@ss/word")]
    assert [encrypted for _, _, encrypted in box.mails] == [True]


def test_a_server_without_starttls_gets_no_password(monkeypatch):
    """So an attacker in between who strips STARTTLS gets none either."""
    with mail_server() as box:
        sender = mail_channel(monkeypatch, f"smtp://night:secret@127.0.0.1:{box.port}")
        with pytest.raises(TemporaryError, match="no STARTTLS"):
            sender.send(SUMMARY)
    assert (box.logins, box.mails) == ([], [])


def test_smtps_is_encrypted_from_the_first_byte(monkeypatch):
    """The server's certificate must be trusted."""
    with mail_server(server_tls(), implicit=True) as box:
        sender = mail_channel(monkeypatch, f"smtps://127.0.0.1:{box.port}")
        with pytest.raises(TemporaryError, match="SSLCertVerificationError"):
            sender.send(SUMMARY)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        sender.send(SUMMARY)
    assert len(box.mails) == 1


def test_a_cancelled_run_and_one_without_labels_say_so():
    """A cancelled run is not called finished; without an AUROC it has no line, without an interval it has a reason."""
    bare = dataclasses.replace(SUMMARY, cancelled=True, finding=None, auroc=None, scans_per_second=None)
    assert "cancelled" in headline(bare) and "finished" not in headline(bare)
    few = dataclasses.replace(SUMMARY, auroc_low=None, auroc_high=None, interval_note="Abnormal has no interval: why.")
    assert "AUROC 0.812 (-), 40 positive and 160 negative. Abnormal has no interval: why.\n" in to_text(few)
    assert "cancelled" in to_text(bare) and "AUROC" not in to_text(bare) and "scans/s" not in to_text(bare)


MAIL = {"SMTP_URL": "smtp://h", "MAIL_FROM": "a@b.example", "MAIL_TO": "c@d.example"}


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"WEBHOOK_URL": "ftp://h/secret"}, "WEBHOOK_URL"),
        ({"WEBHOOK_URL": "secret"}, "WEBHOOK_URL"),
        ({"WEBHOOK_URL": "http://h:secret/"}, "WEBHOOK_URL"),
        ({"WEBHOOK_URL": "http://u:secret@h/"}, "WEBHOOK_URL"),
        ({"WEBHOOK_URL": f"http://{'secret' * 20}/"}, "WEBHOOK_URL"),
        ({"WEBHOOK_URL": "http://h/secr\u00e9t"}, "WEBHOOK_URL"),
        (MAIL | {"SMTP_URL": "http://u:secret@h"}, "SMTP_URL"),
        (MAIL | {"SMTP_URL": "smtp://"}, "SMTP_URL"),
        (MAIL | {"MAIL_FROM": ""}, "MAIL_FROM"),
        (MAIL | {"MAIL_FROM": "secret"}, "MAIL_FROM"),
        (MAIL | {"MAIL_TO": ""}, "MAIL_TO"),
        (MAIL | {"MAIL_TO": "a@b.example,secret"}, "MAIL_TO"),
        (MAIL | {"MAIL_TO": "a@b.example\nBcc: secret@x.example"}, "MAIL_TO"),
        ({"MAIL_TO": "a@b.example"}, "MAIL_TO"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_setting_is_one_sentence_without_its_value(monkeypatch, wrong, name):
    """It is found at the start, not at two in the morning."""
    for variable, value in wrong.items():
        monkeypatch.setenv(f"CXR_{variable}", value)
    with pytest.raises(UserError, match=f"^CXR_{name}: ") as caught:
        load_settings(NightlySettings)
    assert "secr" not in str(caught.value) and "\n" not in str(caught.value)


def test_secrets_may_lie_in_files_and_none_is_needed(monkeypatch, tmp_path):
    """Without addresses there is no channel."""
    assert open_channels(load_settings(NightlySettings)) == ()
    for variable, value in (MAIL | {"WEBHOOK_URL": "https://h/token"}).items():
        (tmp_path / variable).write_text(f"{value}\n")
        monkeypatch.setenv(f"CXR_{variable}_FILE", str(tmp_path / variable))
    settings = load_settings(NightlySettings)
    assert (settings.webhook_url, settings.recipients) == ("https://h/token", ("c@d.example",))
    assert len(open_channels(settings)) == 2
    assert "token" not in repr(settings)
