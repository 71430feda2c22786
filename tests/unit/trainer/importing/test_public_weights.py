"""The list of public weights is right in itself, quick, and as wide as a terminal."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from db.findings import FINDINGS
from trainer.importing.description import Description
from trainer.importing.public_weights import PUBLIC_WEIGHTS, print_public_weights

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("weights", PUBLIC_WEIGHTS.values(), ids=PUBLIC_WEIGHTS)
def test_each_description_is_one_that_an_import_takes(weights):
    """Its outputs are findings or without a name, and its figures are of them."""
    description = Description.model_validate(weights.description)
    assert set(description.outputs) <= {*FINDINGS, ""}
    assert description.licence


@pytest.mark.parametrize("weights", PUBLIC_WEIGHTS.values(), ids=PUBLIC_WEIGHTS)
def test_each_command_names_files_that_are_here(weights):
    """The conversions in docs/weights."""
    named = [word for command in weights.commands for word in command.split() if word.startswith("docs/")]
    assert [word for word in named if not (ROOT / word).is_file()] == []


def test_the_conversion_of_torchxrayvision_states_the_figures_of_the_list():
    """Its script must stand alone, so it repeats them."""
    script = ast.parse((ROOT / "docs/weights/from_torchxrayvision.py").read_text(encoding="utf-8"))
    (figures,) = (
        ast.literal_eval(node.value)
        for node in script.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "AUROC_OF_ALL"
    )
    listed = PUBLIC_WEIGHTS["densenet121-res224-all"].description
    assert figures == {key: listed[key] for key in ("published_auroc", "published_auroc_of")}


def test_the_list_names_each_with_its_licence_in_a_hundred_columns(capsys):
    """The commands are broken as a shell joins them again."""
    print_public_weights()
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    joined = " ".join(printed.replace("\\\n", " ").split())
    for weights in PUBLIC_WEIGHTS.values():
        assert f"{weights.name} licence {weights.description['licence']}" in joined
        assert all(command in joined for command in weights.commands)


def test_printing_the_list_loads_no_model():
    """Importing Keras takes seconds."""
    program = (
        "import sys; from trainer.importing.public_weights import print_public_weights as show; show();"
        "sys.exit(bool({'keras', 'tensorflow', 'cv2', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, capture_output=True).returncode == 0
