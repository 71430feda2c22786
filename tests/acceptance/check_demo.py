"""Checks that the demo's held-out AUROC is plausible, that exposure alone does not explain it, and that its DICOM night
rejected what it should; says what to do next.

python tests/acceptance/check_demo.py DEMO_FOLDER
"""

import json
import shlex
import sys
from pathlib import Path

#: Below this range the model learnt nothing; above it the phantoms are too easy to show anything.
PLAUSIBLE_AUROC = (0.80, 0.99)
#: Upper limit of the AUROC of the mean pixel value alone, in either direction.
MAX_BASELINE_AUROC = 0.65
#: Reasons of the DICOM phantoms that must not be scored, of which there is one each.
MEANT_REJECTS = (
    *("body_part", "burned_in", "for_processing", "secondary_capture", "sop_class", "truncated", "view", "window"),
)


def main(demo):
    report = json.loads((demo / "report" / "report.json").read_text())
    reached = main_finding(report, report["finding"])["figures"]["auroc"]["value"]
    evaluation = demo / "home" / "models" / report["model_sha256"][:12] / "evaluation.json"
    baselines = main_finding(json.loads(evaluation.read_text()), report["finding"])["baselines"]
    found = baselines["mean_pixel"]["auroc"]["value"]
    baseline = max(found, 1 - found)
    if not PLAUSIBLE_AUROC[0] <= reached <= PLAUSIBLE_AUROC[1] or baseline >= MAX_BASELINE_AUROC:
        sys.exit(
            f"the demo failed, its figures are not to be believed: held-out AUROC {reached:.3f} "
            f"(wanted: {PLAUSIBLE_AUROC[0]} to {PLAUSIBLE_AUROC[1]}), "
            f"AUROC of the mean pixel value {baseline:.3f} (wanted: under {MAX_BASELINE_AUROC})"
        )
    scored, rejected = dicom_night(demo)
    if not scored or rejected != dict.fromkeys(MEANT_REJECTS, 1):
        sys.exit(
            f"the demo failed: of its DICOM files {scored} were scored and these rejected, by reason: {rejected} "
            f"(wanted: one each of {', '.join(MEANT_REJECTS)}); delete {demo} if an earlier version made it"
        )
    print(f"\nThe demo is done: AUROC {reached:.3f} on synthetic scans that the model has not seen.")
    print(f"It also scored {scored} DICOM films, and rejected {len(rejected)} files that are there to be rejected:")
    print(f"its page is {demo / 'dicom' / 'report' / 'index.html'}, its ledger in {demo / 'dicom' / 'home'}.")
    print("To look around, paste:\n")
    print(*lines_to_paste(demo.resolve()), sep="\n")


def main_finding(content, finding):
    """A finding's part of report.json or evaluation.json, in which an evaluation has the same keys."""
    return content["evaluation"]["findings"][finding]


def dicom_night(demo):
    """How many films of the DICOM night were scored, and the counts of the others by their reasons."""
    coverage = json.loads((demo / "dicom" / "report" / "report.json").read_text())["coverage"]
    return coverage["scored"], coverage["rejected"]


def lines_to_paste(demo):
    """Lines of a shell that activate the environment, name the demo's home, open its page, and show scan by scan."""
    yield f". {shlex.quote(str(Path(sys.prefix, 'bin', 'activate')))}"
    yield f"export CXR_HOME={shlex.quote(str(demo / 'home'))}"
    yield f"xdg-open {shlex.quote(str(demo / 'report' / 'index.html'))}"
    yield "producer browse"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
