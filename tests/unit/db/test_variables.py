"""A variable that the program does not read is named, with the nearest one that it reads."""

import re
from pathlib import Path

import pytest
import typer.main

import producer.cli
import producer.nightly.settings
import trainer.cli
import worker.cli
from db.settings import Settings
from db.variables import KNOWN, PREFIX, describe_unknown

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *filter(Path.is_file, (ROOT / "docker").glob("*"))]


def settings_classes(kind=Settings):
    ours = [child for child in kind.__subclasses__() if child.__module__.split(".")[0] in ("worker", "producer")]
    return {kind}.union(*map(settings_classes, ours))


def flag_variables(command):
    subcommands = getattr(command, "commands", {}).values()
    own = {option.envvar for option in command.params if option.envvar}
    return own.union(*map(flag_variables, subcommands))


def test_the_known_names_are_those_that_the_program_reads():
    """They are the fields of all settings, the same from a file, and the flags of all commands."""
    fields = {f"{PREFIX}{field.upper()}" for kind in settings_classes() for field in kind.model_fields}
    programs = (producer.cli.app, worker.cli.app, trainer.cli.app)
    flags = set().union(*(flag_variables(typer.main.get_command(app)) for app in programs))
    assert fields | {f"{field}_FILE" for field in fields} | flags == KNOWN


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_names_another_variable(document):
    """A line that a person copies from there gives no warning."""
    named = set(re.findall(r"\bCXR_[A-Z_]*[A-Z]", document.read_text()))
    assert list(describe_unknown(named)) == []


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("CXR_CHUNK", "CXR_CHUNK is not a setting; did you mean CXR_CHUNK_SIZE?"),
        ("CXR_DATABASE_URI", "CXR_DATABASE_URI is not a setting; did you mean CXR_DATABASE_URL?"),
        ("CXR_CSV_FILE", "CXR_CSV_FILE is not a setting; did you mean CXR_CSV?"),
        ("cxr_model", "cxr_model is not a setting; did you mean CXR_MODEL?"),
        ("CXR_XYLOPHONE", "CXR_XYLOPHONE is not a setting"),
    ],
)
def test_another_name_is_described(variable, sentence):
    """A flag's variable has no twin for a file, and must be in upper case."""
    assert list(describe_unknown(["PATH", variable, "CXR_HOME"])) == [sentence]


def test_settings_may_be_in_lower_case():
    """Pydantic reads them so; and a name that could control the terminal is not printed."""
    assert list(describe_unknown(["cxr_chunk_size", "CXR_\x1b[2J"])) == []
