"""An int8 export is written only if its loss of AUROC is provably small, and workers can score with it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from db.errors import UserError
from db.findings import NIH_FINDINGS
from db.labels.csv_file import LabelRow
from db.metrics.formulas import auroc
from tests.support.audited_process import run_audited
from tests.support.bootstrap import bootstrap_patients, weighted_curve
from tests.support.small_graph import BATCH, FINDINGS, SIDE, artifact_in
from tests.support.world import radiograph
from trainer.data.labels import label_matrix
from trainer.data.training_data import Subset
from trainer.publishing import quantize as module
from trainer.publishing.int8_scans import Int8Scans
from trainer.publishing.quantize import compare, describe_int8, export_int8
from worker.artifacts.artifact import file_sha256, load_artifact
from worker.artifacts.exports import (
    EXPORTS_FILE,
    FILES_BY_FORMAT,
    INT8,
    OPENVINO_INT8_FILE,
    Exports,
)
from worker.artifacts.model_store import FolderModelStore
from worker.scoring.open_scorer import open_scorer
from worker.scoring.runtimes.openvino import choose_float_precision


def row(number, *, findings=("No Finding",)):
    return LabelRow(
        image_name=f"{number}.png",
        findings=findings,
        patient_id=str(number // 2),
        view=None,
        sex=None,
        age_years=None,
        follow_up=None,
    )


@pytest.fixture(scope="module")
def scans():
    """Bright scans have findings, most of the time; 60 of 30 patients to judge on."""
    pixels = np.stack([radiograph(number, side=SIDE)[:, :, np.newaxis] for number in range(100)])
    means = pixels.mean(axis=(1, 2, 3)) + np.random.default_rng(1).normal(0, 4, 100)
    bright = means > np.median(means)
    rows = tuple(row(at, findings=("Effusion",) if bright[at] else ("No Finding",)) for at in range(40, 100))
    labels = label_matrix(rows, FINDINGS, covered=NIH_FINDINGS)
    validation = Subset(rows=rows, pixels=pixels, indices=np.arange(40, 100), labels=labels)
    return Int8Scans(calibration=pixels[:40], validation=validation)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return FolderModelStore(tmp_path_factory.mktemp("int8") / "models")


@pytest.fixture(scope="module")
def artifact(models):
    return artifact_in(models.folder.parent)


@pytest.fixture(scope="module")
def exported(artifact, scans, models):
    return export_int8(artifact, scans, models=models, max_loss=0.05)


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_int8_is_kept_with_the_figures_that_prove_it(artifact, exported):
    """Beside what was there, which stays as it was; the artifact too."""
    exports = Exports.model_validate_json((artifact.folder / EXPORTS_FILE).read_bytes())
    assert set(exports.formats) == {"openvino", INT8}
    assert exports.formats[INT8] == exported
    assert exported.files == {file: file_sha256(artifact.folder / file) for file in FILES_BY_FORMAT[INT8]}
    counts = (exported.scans, exported.patients, exported.findings, exported.calibrated_on, exported.resamples)
    assert counts == (60, 30, 2, 40, 0)
    assert (exported.runtime.split()[0], exported.quantizer.split()[0]) == ("openvino", "nncf")
    assert exported.auroc_float32 - exported.auroc_int8 <= exported.loss_bound < exported.max_loss == 0.05
    assert 0.8 < exported.auroc_float32 < 1
    assert load_artifact(artifact.folder).sha256 == artifact.sha256


def test_int8_of_other_scans_says_that_the_model_may_have_seen_them(tmp_path, scans, artifact, exported):
    """In its list and in its line. Of scans of its own split the list has no such field, which older workers refuse."""
    imported = artifact_in(tmp_path)
    export = export_int8(
        imported, replace(scans, dataset="ours"), models=FolderModelStore(tmp_path / "models"), max_loss=0.05
    )
    written = [json.loads((one.folder / EXPORTS_FILE).read_text())["formats"][INT8] for one in (imported, artifact)]
    assert [one.get("dataset") for one in written] == ["ours", None]
    assert "dataset" not in written[1]
    assert "on 60 scans of 30 patients of ours, which the model may have been fitted on; the loss" in describe_int8(
        export
    )
    assert "on 60 validation scans of 30 patients; the loss is at most" in describe_int8(exported)


def test_a_worker_scores_with_what_was_judged(artifact, exported, scans):
    """As far from float32 as was written down, to the last bit, and it says that it is int8."""
    exact, rough = (open_scorer(artifact, "openvino", precision) for precision in ("float32", "int8"))
    assert (exact.precision, rough.precision, rough.batch_size) == ("float32", "int8", BATCH)
    pixels = scans.validation.pixels[scans.validation.indices]
    pieces = range(0, len(pixels), BATCH)
    scores = [np.concatenate([one.score(pixels[at : at + BATCH]) for at in pieces]) for one in (exact, rough)]
    assert 0 < np.abs(scores[0] - scores[1]).max() == exported.max_difference < 0.05
    assert scores[0].std() > 0.1
    assert rough._floats == exported.rest == choose_float_precision("auto")


def test_a_scan_alone_scores_in_int8_bitwise_as_among_others(artifact, exported, scans):
    """In any place, as in float32."""
    scorer = open_scorer(artifact, "openvino", "int8")
    batch = scans.calibration[:BATCH]
    whole = scorer.score(batch)
    for place in range(BATCH):
        assert (scorer.score(batch[place : place + 1])[0] == whole[place]).all()
        assert (scorer.score(np.roll(batch, place, axis=0)) == np.roll(whole, place, axis=0)).all()
    scorer.shrink()
    assert np.allclose(scorer.score(batch[: BATCH // 2]), whole[: BATCH // 2], atol=0.01)


@pytest.mark.parametrize("notes", ["{'overflow_fix': 'first_layer_only'}", None])
def test_a_graph_with_weights_of_eight_bits_is_refused(tmp_path, scans, monkeypatch, notes):
    """As earlier versions made it: on CPUs without VNNI its sums overflow, and its scores are wrong in silence."""
    artifact, quantize = artifact_in(tmp_path), module.quantize

    def quantize_as_before(*given):
        graph = quantize(*given)
        del graph.rt_info["nncf"]
        if notes is not None:
            graph.set_rt_info(notes, ["nncf", "quantization", "advanced_parameters"])
        return graph

    monkeypatch.setattr(module, "quantize", quantize_as_before)
    export_int8(artifact, scans, models=FolderModelStore(tmp_path / "models"), max_loss=1)
    with pytest.raises(UserError, match=r"made by an earlier version, .* wrong scores on some CPUs; run 'trainer exp"):
        open_scorer(artifact, "openvino", "int8")


@pytest.mark.parametrize("runtime", ["auto", "openvino"])
def test_precision_auto_never_chooses_int8(artifact, exported, runtime):
    """Its scores differ, so it must be requested."""
    assert open_scorer(artifact, runtime).precision in {"float32", "bfloat16"}
    assert open_scorer(artifact, runtime, "int8").precision == "int8"


@pytest.mark.parametrize("file", FILES_BY_FORMAT[INT8])
def test_a_damaged_int8_file_is_refused_by_name(tmp_path, scans, file):
    """And float32 scores as before."""
    artifact = artifact_in(tmp_path)
    export_int8(artifact, scans, models=FolderModelStore(tmp_path / "models"), max_loss=1)
    path = artifact.folder / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{file}: {EXPORTS_FILE} says sha256"):
        open_scorer(artifact, "openvino", "int8")
    assert open_scorer(artifact, "openvino", "float32").precision == "float32"


def test_what_loses_too_much_is_refused_with_the_figures(tmp_path, scans):
    """Calibrated on black scans it takes every scan for nearly black; nothing is written."""
    artifact, black = artifact_in(tmp_path), replace(scans, calibration=np.zeros_like(scans.calibration))
    before = content_of(artifact.folder)
    figures = r"AUROC 0\.\d{4} in float32 and 0\.\d{4} in int8 over 2 findings, on 60 validation scans of 30 patients;"
    with pytest.raises(
        UserError, match=rf"{figures} the loss may be 0\.\d{{4}} \(one-sided 95% bound\), .* 0\.01; not"
    ):
        export_int8(artifact, black, models=FolderModelStore(tmp_path / "models"), max_loss=0.01)
    assert content_of(artifact.folder) == before


def test_without_both_classes_nothing_is_proved(tmp_path, scans):
    """No AUROC, no loss of it, and no export."""
    artifact = artifact_in(tmp_path)
    healthy = replace(scans, validation=replace(scans.validation, labels=np.zeros((60, 2), np.float32)))
    with pytest.raises(UserError, match="no finding has both classes on 60 validation scans; nothing was written"):
        export_int8(artifact, healthy, models=FolderModelStore(tmp_path / "models"), max_loss=1)
    assert not (artifact.folder / OPENVINO_INT8_FILE).exists()


def test_the_bound_is_that_of_the_same_draws_of_patients():
    """Float32 and int8 share each draw, so for nearly equal scores the bound is tight; the bootstrap is the judge."""
    rng = np.random.default_rng(0)
    rows = tuple(row(number) for number in range(120))
    labels = (rng.random((120, 3)) < 0.4).astype(np.float32)
    labels[:, 2] = 0
    labels[::7, 1] = np.nan
    float32 = ((rng.random((120, 3)) + 0.3 * np.nan_to_num(labels)) / 2).astype(np.float32)
    int8 = float32 + rng.normal(0, 0.02, (120, 3)).astype(np.float32)
    found = compare(rows, labels, float32, int8)
    assert found.float32 - found.int8 < found.loss_bound < found.float32 - found.int8 + 0.02
    known = ~np.isnan(labels)

    def loss(times):
        # The third finding has one class: it is in no mean.
        areas = [
            [
                weighted_curve(labels[kept, at] > 0, scores[kept, at].astype(float), times[kept]).auroc
                for at, kept in ((0, known[:, 0]), (1, known[:, 1]))
            ]
            for scores in (float32, int8)
        ]
        return [np.mean(areas[0]) - np.mean(areas[1])]

    (judge,) = bootstrap_patients([one.patient_id for one in rows], loss, percentiles=(5.0, 95.0))
    assert judge.value == pytest.approx(found.float32 - found.int8)
    assert found.loss_bound - judge.value == pytest.approx(judge.high - judge.value, rel=0.15)
    assert compare(rows, labels, float32, float32).loss_bound == 0


def test_an_unknown_label_judges_nothing():
    """The comparison is that of the scans with a known label, finding by finding."""
    rng = np.random.default_rng(0)
    rows = tuple(row(number) for number in range(60))
    labels = (rng.random((60, 2)) < 0.4).astype(np.float32)
    labels[:20, 1] = np.nan
    float32 = (rng.random((60, 2)) + 0.3 * np.nan_to_num(labels)).astype(np.float32) / 2
    areas = [
        auroc(labels[kept, at] > 0, float32[kept, at].astype(np.float64)) for at, kept in ((0, ...), (1, slice(20, 60)))
    ]
    assert compare(rows, labels, float32, float32).float32 == pytest.approx(np.mean(areas))


def test_quantizing_tells_nobody():
    """Left to itself the quantizer counts its uses for its makers; but not where it sees pytest, hence a process."""
    code = """
import os
import numpy as np
from tests.support.small_graph import small_graph
from trainer.publishing.quantize import quantize
quantize(small_graph(), np.zeros((8, 32, 32, 1), np.uint8), 8)
import nncf
assert "pytest" not in sys.modules
print(type(nncf.telemetry.telemetry).__name__, os.environ["NNCF_CI"])
"""
    assert run_audited(code) == ["MagicMock", "1"]
