"""Are the locked packages known to be weak? And are the locks what they should be?

    python .ci/audit.py [--tool DIR/pip-audit]

Without a network the locks alone are judged: every package pinned and hashed, one version everywhere, a licence that
is known. The advisories are asked for through pip-audit. A package that is known to be weak is asked for with ours:
where the service does not name it, it did not answer, and that is said loudly; it fails no build. A finding does,
unless `.ci/audit-exceptions.toml` says why it does not touch us, and until when.
"""

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted(
    [ROOT / "requirements.lock", *(ROOT / "docker/requirements").glob("*.lock"), *(ROOT / ".ci").glob("*.lock")]
)
EXCEPTIONS = ROOT / ".ci/audit-exceptions.toml"
#: Every advisory service knows several weaknesses of it.
KNOWN_WEAK = "urllib3==1.26.0"
_PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[^\s;]+)")
_LICENCE = "License ::"


def main():
    """Exit 0 where nothing is wrong (or could not be asked), 1 where something is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default="pip-audit")
    tool = parser.parse_args().tool
    exceptions = tomllib.loads(EXCEPTIONS.read_text())
    wrong = [*wrong_locks({path.name: path.read_text() for path in LOCKS}), *wrong_licences(exceptions)]
    wrong += expired(exceptions, date.today())
    report = ask(tool)
    if report is None:
        print(
            "AUDIT: THE ADVISORIES WERE NOT CHECKED: no advisory service answers here. Run `make audit` where one does."
        )
    else:
        wrong += findings(report, exceptions)
        if skipped := sorted({one["name"] for one in report if "skip_reason" in one}):
            print(f"AUDIT: NOT KNOWN TO THE ADVISORY SERVICE: {', '.join(skipped)}")
        print(f"audit: {len(report)} packages of {len(LOCKS)} locks against the advisories")
    for sentence in wrong:
        print(f"audit: {sentence}", file=sys.stderr)
    print(f"audit: {len(wrong)} things are wrong" if wrong else "audit: the locks are as they should be")
    return bool(wrong)


def wrong_locks(locks):
    """Packages that are not pinned by hash, come from elsewhere, or have two versions."""
    wrong, versions = [], {}
    for lock, content in locks.items():
        for entry in re.split(r"\n(?=\S)", content.strip().replace("\\\n", " ")):
            found = _PIN.match(entry)
            if not found or "--hash=sha256:" not in entry or "://" in entry:
                wrong.append(f"{lock}: not pinned to a version and its hashes: {entry[:60]}")
            elif not _is_conditional(entry):
                versions.setdefault(_plain(found["name"]), {}).setdefault(found["version"], lock)
    several = {name: places for name, places in versions.items() if len(places) > 1}
    return wrong + [f"{name} is locked in several versions: {places}" for name, places in several.items()]


def wrong_licences(exceptions):
    """Installed packages whose licence is neither stated nor looked up by a person."""
    known = {_plain(one["package"]) for one in exceptions.get("licence", [])}
    locked = {_plain(found["name"]) for path in LOCKS for found in _PIN.finditer(path.read_text())}
    unknown = sorted(
        _plain(one.name)
        for one in importlib.metadata.distributions()
        if _plain(one.name) in locked - known and not _states_licence(one.metadata)
    )
    return [f"{name} states no licence" for name in unknown]


def expired(exceptions, today):
    """Exceptions that were to be looked at again by now."""
    return [
        f"the exception for {one['id']} ran out on {one['until']}: {one['reason']}"
        for one in exceptions.get("advisory", [])
        if one["until"] < today
    ]


def ask(tool):
    """Every locked package with its advisories; None where no service answers."""
    report = []
    with tempfile.TemporaryDirectory() as folder:
        weak = Path(folder, "weak.txt")
        weak.write_text(KNOWN_WEAK + "\n")
        canary = _audit(tool, weak, "--no-deps")
        if not canary or not any(one.get("vulns") for one in canary):
            return None
    for lock in LOCKS:
        found = _audit(tool, lock, "--require-hashes")
        if found is None:
            return None
        report += found
    return report


def findings(report, exceptions):
    """What is known of a locked package and not excepted."""
    excepted = {one["id"] for one in exceptions.get("advisory", [])}
    found = {
        (one["name"], one["version"], weakness["id"], ", ".join(weakness.get("fix_versions", [])) or "none yet")
        for one in report
        for weakness in one.get("vulns", [])
        if not excepted & {weakness["id"], *weakness.get("aliases", [])}
    }
    return [f"{name} {version}: {known} (mended in {mended})" for name, version, known, mended in sorted(found)]


def _audit(tool, requirements, *options):
    command = [
        tool,
        "--requirement",
        str(requirements),
        "--disable-pip",
        *options,
        "--format",
        "json",
        "--progress-spinner=off",
    ]
    try:
        done = subprocess.run([*command, "--timeout", "10"], capture_output=True, text=True, timeout=300, check=False)
        return json.loads(done.stdout)["dependencies"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return None


def _is_conditional(entry):
    # Another version for another Python or platform is no contradiction.
    return ";" in entry.split("--hash")[0]


def _states_licence(metadata):
    classified = any(line.startswith(_LICENCE) for line in metadata.get_all("Classifier") or ())
    return bool(
        classified or metadata.get("License-Expression") or metadata.get("License") or metadata.get("License-File")
    )


def _plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
