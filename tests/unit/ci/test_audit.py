"""The audit fails on a known vulnerability and on an unpinned package, but not because no service answers."""

import importlib.util
from datetime import date
from email.message import Message
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / ".ci" / "audit.py"
PINNED = "a==1.0 \\\n    --hash=sha256:00\nb==2.0 ; python_version < '3.12' \\\n    --hash=sha256:11\n"
VULNERABLE = {
    "name": "a",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}],
}
CLEAN = {"name": "b", "version": "2.0", "vulns": []}


@pytest.fixture
def audit():
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_package_with_a_known_vulnerability_is_named_with_its_remedy(audit):
    """A known vulnerability is reported with the fixed version unless an exception names it by any of its ids."""
    assert audit.findings([VULNERABLE, CLEAN], {}) == ["a 1.0: PYSEC-1 (fixed in 1.1)"]
    for known in ("PYSEC-1", "CVE-1"):
        assert audit.findings([VULNERABLE], {"advisory": [{"id": known}]}) == []


def test_an_exception_expires(audit):
    """An exception fails the build after its date."""
    exceptions = {"advisory": [{"id": "CVE-1", "reason": "never called", "until": date(2026, 6, 1)}]}
    assert audit.expired(exceptions, date(2026, 6, 1)) == []
    assert audit.expired(exceptions, date(2026, 6, 2)) == [
        "the exception for CVE-1 expired on 2026-06-01: never called"
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PINNED, None),
        (PINNED + "c>=1\n", "not pinned"),
        (PINNED + "c==1\n", "not pinned"),
        (PINNED + "c @ https://example.org/c.whl \\\n    --hash=sha256:22\n", "not pinned"),
        (PINNED + "--index-url https://example.org\n", "not pinned"),
        (PINNED + "a==1.1 \\\n    --hash=sha256:22\n", "a is locked in several versions"),
        (PINNED + "b==2.1 ; python_version >= '3.12' \\\n    --hash=sha256:22\n", None),
    ],
)
def test_a_lock_pins_every_package_by_its_hash_and_to_one_version(audit, content, sentence):
    """A package without a hash or with two versions is an error, because the next installation might differ."""
    wrong = audit.wrong_locks({"a.lock": content})
    assert len(wrong) == bool(sentence)
    assert sentence is None or sentence in wrong[0]


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("License-Expression", "GPL-3.0-or-later", True),
        ("License", "AGPL-3.0", True),
        ("Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("License-Expression", "LGPL-3.0-only", False),
        ("Classifier", "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", False),
        ("License", "BSD\nlike the GPL, but not so strict", False),
    ],
)
def test_a_package_under_the_gpl_is_told(audit, field, text, expected):
    """pylibjpeg-libjpeg is such a decoder, and this program could not ship it."""
    metadata = Message()
    metadata[field] = text
    assert audit.is_gpl(metadata) is expected


def fake_pip_audit(folder, output):
    tool = folder / "pip-audit"
    tool.write_text(f"#!/bin/sh\necho '{output}'\n")
    tool.chmod(0o755)
    return str(tool)


@pytest.mark.parametrize(
    "output",
    ["", "not json", '{"dependencies": [{"name": "urllib3", "skip_reason": "not found"}]}', '{"dependencies": []}'],
)
def test_a_service_that_does_not_know_the_vulnerable_package_did_not_answer(audit, tmp_path, output):
    """An index without advisories finds nothing in any package, and this must not count as a clean audit."""
    assert audit.ask(fake_pip_audit(tmp_path, output)) is None
    assert audit.ask(str(tmp_path / "nowhere")) is None


def test_a_service_that_knows_the_vulnerable_package_is_trusted(audit, tmp_path):
    """The findings of such a service about our packages count."""
    output = '{"dependencies": [{"name": "urllib3", "version": "1.26.0", "vulns": [{"id": "X"}]}]}'
    report = audit.ask(fake_pip_audit(tmp_path, output))
    assert audit.findings(report, {}) == ["urllib3 1.26.0: X (fixed in none yet)"]


def test_every_lock_is_audited(audit):
    """Every lock is found wherever it lies, so that a new one needs no entry."""
    root = SCRIPT.parents[1]
    found = {path for path in root.rglob("*.lock") if ".venv" not in path.parts}
    assert set(audit.LOCKS) == found
    assert len(found) >= 10
