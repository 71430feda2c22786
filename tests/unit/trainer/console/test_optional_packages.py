"""A command says in one sentence which package it lacks, and others work without it."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tests.support.imports import ROOT
from trainer.cli import app


@pytest.mark.parametrize("package", ["matplotlib", "scipy"])
def test_a_fit_without_a_package_of_its_extra_is_one_sentence(monkeypatch, package):
    """Before anything is read or written."""
    monkeypatch.setattr(
        "trainer.console.optional_packages.find_spec", lambda name: None if name == package else object()
    )
    done = CliRunner().invoke(app, ["fit", "--csv", "nowhere.csv", "--name", "x"])
    assert str(done.exception) == f"trainer fit needs {package}: pip install 'nightread[trainer]'"


def test_what_evaluates_imports_no_package_of_the_extra_fit():
    """Nor scikit-learn, which judges figures in tests only."""
    missing = dict.fromkeys(("matplotlib", "scipy", "sklearn"))
    modules = ("evaluation.evaluate_artifact", "evaluation.tables", "evaluation.model_card", "publishing.quantize")
    code = f"import sys; sys.modules |= {missing}; import {', '.join(f'trainer.{name}' for name in modules)}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
