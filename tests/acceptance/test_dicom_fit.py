"""A model that was fitted on DICOM, and the same films scored later."""

import pytest

from tests.support.dicom_set import FILMS, PATIENTS, write_films, write_mixed_labels
from tests.support.world import EMBEDDED


@pytest.mark.slow
@pytest.mark.parametrize("world", [EMBEDDED], indirect=True)
def test_films_of_a_fit_are_not_held_out_when_another_archive_has_them(world, tmp_path):
    """They are known by their UIDs and patients, by a run without a CSV and by an evaluation."""
    from trainer.data.training_data import Source
    from trainer.evaluation.evaluate_artifact import evaluate_artifact
    from trainer.fitting.fit import FitOptions, fit
    from trainer.recipe import make_recipe
    from worker.artifacts.model_store import FolderModelStore
    from worker.artifacts.split_file import read_split

    write_films(tmp_path / "archive" / "2026")
    source = Source(csv=write_mixed_labels(tmp_path / "labels.csv"), images=str(tmp_path / "archive" / "2026"))
    options = FitOptions(models=FolderModelStore(world.home / "models"), scratch=tmp_path / "scratch", export=False)
    artifact = fit("films", source, make_recipe("best", encoder="densenet37", size=32, epochs=1), options).artifact
    evaluation, _ = evaluate_artifact(artifact, source, cache=tmp_path / "cache")
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    world.producer("run", "--images", tmp_path / "elsewhere")
    subsets = {row.image_name: row.subset for row in read_split(artifact.folder)}
    held_out = dict(world.rows("SELECT image_name, held_out FROM results_wide"))
    assert len(held_out) == len(PATIENTS) * len(FILMS)
    assert held_out == {name: int(subset == "test") for name, subset in subsets.items()}
    assert evaluation.seen == sum(subset != "test" for subset in subsets.values())
    assert artifact.manifest.views == ("PA",)
