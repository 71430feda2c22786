"""The flags of a labels CSV are checked before any file is read, and are the same in every command."""

import pytest
import typer

from db.errors import UserError
from db.labels.flags import make_reading, with_reading
from db.labels.reading import DEFAULT_READING, Columns, Reading


def mistake(**flags):
    with pytest.raises(UserError) as caught:
        make_reading(**flags)
    return str(caught.value)


def test_no_flag_at_all_is_the_reading_that_commands_have_by_default():
    """The flags' defaults and the dataclass' are written in two places."""
    assert make_reading() == DEFAULT_READING == Reading()


def test_terms_come_from_flags_and_a_file_and_may_hold_the_sign(tmp_path):
    """Both spell findings as they like; a header and blank lines are skipped; TERM= means none."""
    file = tmp_path / "terms.csv"
    file.write_text('term,finding\n"vol. overload",pulmonary edema\n\nOld = new,\n')
    reading = make_reading(mapped=["Rib  FX=fracture", "a=b=MASS", "scoliosis="], map_file=file)
    assert reading.mapped == (
        ("a=b", "Mass"),
        ("old = new", ""),
        ("rib fx", "Fracture"),
        ("scoliosis", ""),
        ("vol. overload", "Edema"),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Mass", "--map 'Mass': write TERM=FINDING"),
        ("=Mass", "--map '=Mass': the term is empty"),
        ("fx=Fractur", "--map 'fx=Fractur': 'Fractur' is not a known finding (nearest: Fracture"),
        ("x=Abnormal", "--map 'x=Abnormal': 'Abnormal' is not a known finding"),
    ],
)
def test_a_wrong_map_is_refused_with_its_text(text, sentence):
    """The nearest findings are named here too; `Abnormal` follows from the others and is no label."""
    assert mistake(mapped=[text]).startswith(sentence)


def test_a_term_of_two_meanings_is_refused():
    """Neither flag is taken for the right one."""
    assert "'FX' means another finding already, 'Fracture'; keep one" in mistake(mapped=["fx=Fracture", "FX=Mass"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("fx,Fracture\nrib\n", "row 2: has 1 cells"),
        ("fx,Fracture,x\n", "row 1: has 3 cells"),
        ('fx,"Fracture\n', "terms.csv: "),
        ("fx,Fractur\n", "row 1: 'Fractur' is not a known finding (nearest: Fracture"),
        ("PK\x03\x04", "an Excel workbook"),
    ],
)
def test_a_wrong_file_of_terms_is_refused_with_its_row(tmp_path, content, sentence):
    """Whatever is wrong, the file is named, and nothing is read by half of it."""
    file = tmp_path / "terms.csv"
    file.write_text(content)
    assert sentence in mistake(map_file=file)
    assert str(file) in mistake(map_file=file)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("patient(", "is not a regular expression: "),
        ("patient", "has 0 groups: put the patient's id, and nothing else, in brackets"),
        ("(p)(q)", "has 2 groups"),
    ],
)
def test_a_pattern_without_just_one_group_is_refused(pattern, sentence):
    """The group is the patient; an expression that does not compile is quoted with its fault."""
    assert sentence in mistake(patient_pattern=pattern)


@pytest.mark.parametrize(
    "flags", [{"patient_column": "a", "patient_pattern": "(b)"}, {"label_column": "a", "layout": "columns"}]
)
def test_flags_that_contradict_each_other_are_refused(flags):
    """One of the two would be ignored in silence."""
    assert all(f"--{name.replace('_', '-')}" in mistake(**flags) for name in flags)


def test_a_command_gets_all_flags_as_one_reading_where_it_asks_for_it():
    """typer sees a parameter for each flag, in the place of the one that the command has."""
    seen = []

    @with_reading
    def command(csv: str, reading: Reading = DEFAULT_READING, after: int = 1) -> None:
        """What it does."""
        seen.append((csv, reading, after))

    app = typer.Typer()
    app.command()(command)
    typer.main.get_command(app)(
        [
            "--map",
            "fx=Fracture",
            "--map",
            "a=",
            "--image-column",
            "File",
            "--blank",
            "ignore",
            "--ignore-unknown",
            "x.csv",
        ],
        standalone_mode=False,
    )
    expected = Reading(
        columns=Columns(image="File"), blank="ignore", mapped=(("a", ""), ("fx", "Fracture")), ignore_unknown=True
    )
    assert seen == [("x.csv", expected, 1)]
