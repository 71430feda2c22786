"""`worker check` says what its figures mean."""

import pytest

from tests.support.world import hash_artifact
from worker.supervision.start import check_model


@pytest.mark.parametrize("synthetic", [False, True])
def test_a_check_says_what_a_score_of_nothing_shows_and_what_the_model_was_fitted_on(
    tmp_path, monkeypatch, capsys, synthetic
):
    """A blank scan's score of 0.88 looks like a finding, and a model of phantoms like one of patients."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    monkeypatch.setenv("CXR_RUNTIME", "tests.support.hash_scorer:HashScorer")
    hash_artifact(tmp_path / "models", synthetic=synthetic)
    check_model(model="hash", runtime=None, precision=None)
    model, _, blank, *warned = capsys.readouterr().out.splitlines()
    assert model.endswith(": hash float32")
    assert blank.endswith(" for Abnormal: this shows only that the model answers")
    synthetic_note = "this model was fitted on synthetic radiographs, so its scores of real ones mean nothing"
    assert warned == [synthetic_note] * synthetic
