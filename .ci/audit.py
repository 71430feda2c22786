"""Checks every lock, and looks the locked packages up in the advisories of known vulnerabilities.

    python .ci/audit.py [--tool DIR/pip-audit]

Without a network only the locks are checked: every package is pinned and hashed, has one version everywhere and a known
licence, and what users install is not under the GPL. pip-audit asks the advisory service. A package with known
vulnerabilities is looked up along with ours: a service that does not report it did not answer. This is printed in
capitals and fails no build. A finding fails the build unless `.ci/audit-exceptions.toml` says why it does not affect
us, and until when.
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
    path
    for pattern in ("*.lock", "docker/requirements/*.lock", "tests/**/*.lock", ".ci/*.lock")
    for path in ROOT.glob(pattern)
)
EXCEPTIONS = ROOT / ".ci/audit-exceptions.toml"
#: Every advisory service knows several vulnerabilities of it.
KNOWN_VULNERABLE = "urllib3==1.26.0"
_PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[^\s;]+)")
_LICENCE = "License ::"
_GPL = re.compile(r"(?<!Lesser )General Public License|\bA?GPL")


def main():
    """Exit with 0 if nothing is wrong or the service did not answer, with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default="pip-audit")
    tool = parser.parse_args().tool
    exceptions = tomllib.loads(EXCEPTIONS.read_text())
    wrong = [
        *wrong_locks({str(path.relative_to(ROOT)): path.read_text() for path in LOCKS}),
        *wrong_licences(exceptions),
    ]
    wrong += expired(exceptions, date.today())
    report = ask(tool)
    if report is None:
        print(
            "AUDIT: THE ADVISORIES WERE NOT CHECKED: no advisory service answers here. Run `make audit` where one does."
        )
    else:
        wrong += findings(report, exceptions)
        if skipped := sorted({one["name"] for one in report if "skip_reason" in one}):
            print(f"AUDIT: UNKNOWN TO THE ADVISORY SERVICE: {', '.join(skipped)}")
        print(f"audit: compared {len(report)} packages of {len(LOCKS)} locks with the advisories")
    for sentence in wrong:
        print(f"audit: {sentence}", file=sys.stderr)
    print(f"audit: {len(wrong)} errors" if wrong else f"audit: no errors in {len(LOCKS)} locks")
    return bool(wrong)


def wrong_locks(locks):
    """Sentences about packages that are not pinned by hash, do not come from the index, or have two versions."""
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
    """Sentences about installed packages whose licence nobody knows, and about users' packages under the GPL."""
    known = {_plain(one["package"]) for one in exceptions.get("licence", [])}
    installed = {_plain(one.name): one.metadata for one in importlib.metadata.distributions()}
    unknown = [name for name in _locked(LOCKS) & installed.keys() - known if not _states_licence(installed[name])]
    ours = [path for path in LOCKS if path.relative_to(ROOT).parts[0] not in {"tests", ".ci"}]
    copyleft = [name for name in _locked(ours) & installed.keys() if is_gpl(installed[name])]
    return [
        *(f"{name} states no licence" for name in sorted(unknown)),
        *(f"{name} is under the GPL, and this program is not" for name in sorted(copyleft)),
    ]


def is_gpl(metadata):
    """Whether a package states the GPL or AGPL; the LGPL lets others use it."""
    stated = [metadata.get("License-Expression"), metadata.get("License"), *(metadata.get_all("Classifier") or ())]
    return any(_GPL.search((text or "").splitlines()[0]) for text in stated if text)


def _locked(paths):
    return {_plain(found["name"]) for path in paths for found in _PIN.finditer(path.read_text())}


def expired(exceptions, today):
    """Sentences about exceptions whose date has passed."""
    return [
        f"the exception for {one['id']} expired on {one['until']}: {one['reason']}"
        for one in exceptions.get("advisory", [])
        if one["until"] < today
    ]


def ask(tool):
    """Every locked package with its advisories, or None if no service answers."""
    report = []
    with tempfile.TemporaryDirectory() as folder:
        vulnerable = Path(folder, "vulnerable.txt")
        vulnerable.write_text(KNOWN_VULNERABLE + "\n")
        canary = _audit(tool, vulnerable, "--no-deps")
        if not canary or not any(one.get("vulns") for one in canary):
            return None
    for lock in LOCKS:
        found = _audit(tool, lock, "--require-hashes")
        if found is None:
            return None
        report += found
    return report


def findings(report, exceptions):
    """Sentences about known vulnerabilities of locked packages for which there is no exception."""
    excepted = {one["id"] for one in exceptions.get("advisory", [])}
    found = {
        (one["name"], one["version"], weakness["id"], ", ".join(weakness.get("fix_versions", [])) or "none yet")
        for one in report
        for weakness in one.get("vulns", [])
        if not excepted & {weakness["id"], *weakness.get("aliases", [])}
    }
    return [f"{name} {version}: {known} (fixed in {fixed})" for name, version, known, fixed in sorted(found)]


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
    # Another Python or platform may have another version.
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
