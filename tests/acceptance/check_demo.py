"""The demo must be able to fail: is its held-out AUROC believable, and no gift of the exposure?

python tests/acceptance/check_demo.py DEMO_FOLDER
"""

import json
import sys
from pathlib import Path

#: Below, nothing was learnt; above, the phantoms are too easy to say anything.
AUROC = (0.80, 0.99)
#: What the mean pixel value alone may reach, whichever way round.
BASELINE = 0.65


def main(demo):
    report = json.loads((demo / "report" / "report.json").read_text())
    reached = next(row["auroc"] for row in report["findings"] if row["finding"] == report["finding"])
    evaluation = demo / "home" / "models" / report["model_sha256"][:12] / "evaluation.json"
    baselines = json.loads(evaluation.read_text())["findings"][report["finding"]]["baselines"]
    found = baselines["mean_pixel"]["auroc"]
    baseline = max(found, 1 - found)
    print(f"held-out AUROC {reached:.3f} (wanted: {AUROC[0]} to {AUROC[1]})")
    print(f"AUROC of the mean pixel value {baseline:.3f} (wanted: under {BASELINE})")
    if not AUROC[0] <= reached <= AUROC[1] or baseline >= BASELINE:
        sys.exit("the demo failed: its figures are not to be believed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
