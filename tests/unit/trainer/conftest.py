"""A few phantoms, which are drawn once per session."""

from pathlib import Path

import pytest

from trainer.phantoms.generate import make_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """The labels CSV of about 24 phantoms; tests must not change its folder."""
    return make_phantoms(tmp_path_factory.mktemp("phantoms"), patients=8, seed=0, processes=1).csv


@pytest.fixture(scope="session")
def genuine_labels_csv():
    path = Path(__file__).parents[4] / "shared" / "data" / "sample_labels.csv"
    if not path.exists():
        pytest.skip("the genuine sample_labels.csv is not here")
    return path
