"""`make demo` ends with four lines to paste, or fails if its figures are not plausible."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.check_demo import MEANT_REJECTS

CHECK = Path(__file__).with_name("check_demo.py")


@pytest.fixture
def check(tmp_path):
    """Runs the check on a demo that reached these AUROCs, in a folder whose name has a space."""

    def check(auroc, *, mean_pixel, dicom_rejects=MEANT_REJECTS):
        demo = tmp_path / "a demo"
        model = demo / "home" / "models" / ("1" * 12)
        for folder in (model, demo / "report", demo / "dicom" / "report"):
            folder.mkdir(parents=True)
        report = {"finding": "Abnormal", "model_sha256": "1" * 64}
        findings = {
            "Mass": {"figures": {"auroc": {"value": 0.1}}},
            "Abnormal": {"figures": {"auroc": {"value": auroc}}},
        }
        baselines = {"mean_pixel": {"auroc": {"value": mean_pixel}}}
        evaluation = {"evaluation": {"findings": {"Abnormal": {"baselines": baselines}}}}
        (demo / "report" / "report.json").write_text(json.dumps(report | {"evaluation": {"findings": findings}}))
        (model / "evaluation.json").write_text(json.dumps(evaluation))
        night = {"coverage": {"scored": 24, "rejected": dict.fromkeys(dicom_rejects, 1)}}
        (demo / "dicom" / "report" / "report.json").write_text(json.dumps(night))
        # A relative path, as in the Makefile.
        command = [sys.executable, str(CHECK), demo.name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return check


def test_the_last_four_lines_can_be_pasted(check, tmp_path):
    """From any folder they activate the environment, set the demo's home, open its page and show its scans."""
    done = check(0.9, mean_pixel=0.4)
    assert done.returncode == 0, done.stderr
    *lines, page, browse = done.stdout.splitlines()[-4:]
    pasted = "\n".join([*lines, 'echo "$CXR_HOME"; command -v python'])
    home, python = subprocess.check_output(["bash", "-ec", pasted], cwd="/", text=True).splitlines()
    assert (home, Path(python).parent) == (str(tmp_path / "a demo" / "home"), Path(sys.executable).parent)
    assert (page, browse) == (f"xdg-open '{tmp_path}/a demo/report/index.html'", "producer browse")


@pytest.mark.parametrize(("auroc", "mean_pixel"), [(0.79, 0.5), (0.995, 0.5), (0.9, 0.66), (0.9, 0.34)])
def test_implausible_figures_fail(check, auroc, mean_pixel):
    """A model that learnt nothing, phantoms that are too easy, and an exposure that tells the label end with 1."""
    done = check(auroc, mean_pixel=mean_pixel)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"held-out AUROC {auroc:.3f} (wanted: 0.8 to 0.99)" in done.stderr


def test_a_dicom_night_that_rejects_other_files_than_it_should_fails(check):
    """A lateral film that is scored, for example, is an error of this program."""
    done = check(0.9, mean_pixel=0.5, dicom_rejects=[reason for reason in MEANT_REJECTS if reason != "view"])
    assert (done.returncode, done.stdout) == (1, "")
    assert "24 were scored and these rejected" in done.stderr
