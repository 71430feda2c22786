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
SCANS = range(60)
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
    # What is known of no scan is NULL in SQL.
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
    figures = report["evaluation"]["findings"]["Effusion"]["thresholds"]
    own = [row["rates"]["threshold"] for row in figures if row["chosen_by"] == "published"]
    assert own == [STATED["thresholds"]["Effusion"]]
    (model,) = json.loads(world.producer("model", "list", "--json").stdout)
    assert (model["name"], model["fitted_scans_unknown"]) == ("nih", True)
    (card,) = (world.home / "models").glob("*/MODEL_CARD.md")
    lines = card.read_text().splitlines()
    assert lines[2].startswith("**Licence of the weights: Apache-2.0.**")
    assert "| Effusion | 0.8125 | 0.4 |" in lines


def write_scans(folder):
    """The two images of the reference and others: two scans of each of 30 patients, with their labels CSV."""
    (folder / "images").mkdir()
    for number in SCANS:
        pixels = images()[number] if number < len(images()) else radiograph(number, side=SIDE)
        cv2.imwrite(str(folder / "images" / name_of(number)), pixels)
    return write_csv(folder / "labels.csv", SCANS, name_of=name_of)


def name_of(number):
    return image_name(number, scans_per_patient=2)


def score_again(world, csv, runtime, precision):
    """Score all scans in a new run; float64 (scans, findings) in the order of the scans' numbers."""
    world.env |= {"CXR_RUNTIME": runtime, "CXR_PRECISION": precision}
    run = json.loads(world.producer("run", "--csv", csv, "--rescore", "--json", timeout=280).stdout)
    ((computed_by, scored),) = run["coverage"]["runtimes"].items()
    assert (computed_by.split()[0], computed_by.split()[-1], scored) == (runtime, precision, len(SCANS))
    query = f"SELECT {COLUMNS} FROM results_wide WHERE run_id = :run ORDER BY image_name"
    return np.array(world.rows(query, run=run["run_id"]))


def published_scores():
    """What PyTorch computes of the two images of the reference, float64 (2, findings)."""
    named = [number for number, finding in enumerate(TORCHXRAYVISION.outputs) if finding]
    return 1 / (1 + np.exp(-recorded_logits(TORCHXRAYVISION)[:, named]))


@pytest.mark.variant
@pytest.mark.timeout(900)
def test_every_runtime_scores_as_pytorch_does(world, weights, tmp_path):
    """Keras and OpenVINO to many decimals; int8, which any labelled CSV proves, nearly. An evaluation warns, too."""
    csv = write_scans(tmp_path)
    world.trainer("import", weights, "--name", "nih", timeout=280)
    flags = ("export", "--model", "nih", "--csv", csv)
    assert "onnx: model.onnx; scores differ" in world.trainer(*flags, timeout=280).stdout
    int8 = world.trainer(*flags, "--int8", "--scans", "20", "--max-loss", "1", timeout=280).stdout
    assert "on 40 scans of 20 patients of labels, which the model may have been fitted on" in int8
    keras, openvino = (score_again(world, csv, runtime, "float32") for runtime in ("keras", "openvino"))
    assert np.abs(keras[:2] - published_scores()).max() < 1e-5
    assert np.abs(openvino - keras).max() < TOLERANCE
    assert 0 < np.abs(score_again(world, csv, "openvino", "int8") - openvino).mean() < 0.03
    assert UNKNOWN in world.trainer("evaluate", "--model", "nih", "--csv", csv, timeout=280).stdout


@pytest.mark.variant
def test_jax_scores_as_pytorch_does(world, weights, tmp_path):
    """It needs no export, which only TensorFlow can make."""
    csv = write_scans(tmp_path)
    world.env["KERAS_BACKEND"] = "jax"
    world.trainer("import", weights, "--name", "nih", "--no-export", timeout=280)
    assert np.abs(score_again(world, csv, "keras", "float32")[:2] - published_scores()).max() < 1e-5
