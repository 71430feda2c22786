"""A published network through everything: import, workers on each runtime, exports, report, card and evaluation."""

import json

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from db.findings import column_of
from tests.support.dicom_set import write_labels
from tests.support.torch_reference import SIDE, TORCHXRAYVISION, images, published_tensors, recorded_logits
from tests.support.world import EMBEDDED, image_name, radiograph, write_csv
from trainer.phantoms.dicom_file import dicom_file

# What an import is does not depend on the servers.
pytestmark = pytest.mark.parametrize("world", [EMBEDDED], indirect=True)

STATED = {
    "crop": "center",
    "views": ["PA", "AP"],
    "thresholds": {"Effusion": 0.4},
    "licence": "Apache-2.0",
    "published_auroc": {"Effusion": 0.8125},
    "published_auroc_of": "NIH's test scans",
}
FINDINGS = tuple(filter(None, TORCHXRAYVISION.outputs))
COLUMNS = ", ".join(column_of(finding) for finding in FINDINGS)
#: The largest difference between two runtimes' float32 scores of a scan.
TOLERANCE = 1e-4
UNKNOWN = "Held out: unknown. Nobody knows which scans the model was fitted on, so the figures may flatter it."


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights as torchxrayvision saves them, with their description beside them."""
    path = tmp_path_factory.mktemp("published") / "nih.safetensors"
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in published_tensors(TORCHXRAYVISION).items()}, path)
    path.with_suffix(".json").write_text(json.dumps(TORCHXRAYVISION.description | STATED))
    return path


def test_an_imported_model_runs_and_claims_nothing_that_nobody_knows(world, weights, tmp_path):
    """Run, report, list and card: its publisher's crop, views and thresholds, and no scan is called held out."""
    world.trainer("import", weights, "--name", "nih", "--no-export")
    (images := tmp_path / "images").mkdir()
    landscape = cv2.resize(radiograph(1, side=96), (160, 96))
    cv2.imwrite(str(images / "landscape.png"), landscape)
    cv2.imwrite(str(images / "square.png"), landscape[:, 32:128])
    for uid, view in (("1.2.1", "LL"), ("1.2.2", "PA")):
        (images / f"IM{uid}").write_bytes(dicom_file(radiograph(2), SOPInstanceUID=uid, ViewPosition=view))
    names = ("landscape.png", "square.png", "1.2.1", "1.2.2")
    rows = [(name, label) for name, label in zip(names, ("Effusion", "No Finding") * 2, strict=True)]
    csv = write_labels(tmp_path / "labels.csv", rows)
    done = world.producer("run", "--csv", csv, check=False)
    assert done.returncode == 3, done.stderr
    assert UNKNOWN in done.stdout
    states = world.rows("SELECT image_name, state, reason, held_out FROM results_wide ORDER BY image_name")
    assert states == [
        ("1.2.1", "rejected", "view", None),
        ("1.2.2", "scored", None, None),
        ("landscape.png", "scored", None, None),
        ("square.png", "scored", None, None),
    ]
    scores = f"SELECT DISTINCT {COLUMNS} FROM results_wide WHERE image_name LIKE '%.png'"
    assert len(world.rows(scores)) == 1
    report = json.loads((world.home / "reports" / "run-1" / "report.json").read_text())
    print(json.dumps(report, indent=1)[:6000])
    (model,) = json.loads(world.producer("model", "list", "--json").stdout)
    assert (model["name"], model["fitted_scans_unknown"]) == ("nih", True)
    assert "unknown scans" in world.producer("model", "list").stdout
    (card,) = (world.home / "models").glob("*/MODEL_CARD.md")
    assert card.read_text().splitlines()[2].startswith("**Licence of the weights: Apache-2.0.**")
    assert "| Effusion | 0.8125 | 0.4 |" in card.read_text().splitlines()


def write_scans(folder):
    """The images of the reference among others, as a labels CSV of 30 patients names them."""
    (folder / "images").mkdir()
    for number in range(60):
        pixels = images()[number] if number < len(images()) else radiograph(number, side=SIDE)
        cv2.imwrite(str(folder / "images" / image_name(number, scans_per_patient=2)), pixels)
    return write_csv(folder / "labels.csv", range(60), name_of=lambda number: image_name(number, scans_per_patient=2))


def scores_of_run(world, run_id):
    """By image name; of the latest run."""
    rows = world.rows(f"SELECT image_name, {COLUMNS} FROM results_wide WHERE run_id = :run ORDER BY 1", run=run_id)
    return np.array([scores for _, *scores in rows])


def published_scores():
    """What PyTorch computes of the two images of the reference, float64 (2, findings)."""
    named = [number for number, finding in enumerate(TORCHXRAYVISION.outputs) if finding]
    return 1 / (1 + np.exp(-recorded_logits(TORCHXRAYVISION)[:, named]))


def score(world, csv, *flags, runtime, precision, backend="tensorflow"):
    """Score all scans again in a run, and return its scores and what the ledger says computed them."""
    world.env |= {"CXR_RUNTIME": runtime, "CXR_PRECISION": precision, "KERAS_BACKEND": backend}
    run = json.loads(world.producer("run", "--csv", csv, "--rescore", "--json", timeout=280).stdout)
    return run


@pytest.mark.slow
def test_every_runtime_scores_as_pytorch_does(world, weights, tmp_path):
    """Keras and OpenVINO in float32; int8 differs, by no more than it was proved on other patients."""
    csv = write_scans(tmp_path)
    print(world.trainer("import", weights, "--name", "nih", timeout=280))
    for runtime, precision in (("keras", "float32"), ("openvino", "float32"), ("openvino", "bfloat16")):
        print(score(world, csv, runtime=runtime, precision=precision))
        scores = scores_of_run(world, 1)
        print(np.abs(scores[:2] - published_scores()).max())
