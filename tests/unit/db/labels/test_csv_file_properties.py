"""Files that a spreadsheet writes read back as they were typed; any other file gives rows or one sentence."""

import codecs
import csv
import gzip
import io
from dataclasses import astuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.errors import UserError
from db.findings import NIH_FINDINGS, NO_FINDING, SPECIFIC_FINDINGS
from db.labels.csv_file import Columns, LabelRow, Reading, read_labels_csv

HEADER = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender"]
HEADER += ["View Position", "OriginalImage[Width", "Height]", "a note"]
UTF16 = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}

#: The text of a cell, without lone surrogates and NUL, which no spreadsheet writes.
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
dialects = st.fixed_dictionaries(
    {
        "separator": st.sampled_from([",", ";", "\t"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        "newline": st.sampled_from(["\n", "\r\n", "\r"]),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", *UTF16]),
        "gzipped": st.booleans(),
        "spelling": st.sampled_from([str, str.upper, lambda cell: f" {cell}", lambda cell: cell.replace(" ", "_")]),
        "empty_cells": st.integers(0, 3),
        "blank_lines": st.booleans(),
    }
)
quick = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def in_dialect(header, rows, dialect):
    """The file's bytes as that spreadsheet writes them."""
    stored = io.StringIO()
    # Python's csv quotes a cell only for its own line end, a spreadsheet for any line end.
    newline = "\r\n" if dialect["quoting"] == csv.QUOTE_MINIMAL else dialect["newline"]
    writer = csv.writer(stored, delimiter=dialect["separator"], quoting=dialect["quoting"], lineterminator=newline)
    for cells in [[dialect["spelling"](cell) for cell in header], *rows]:
        if dialect["blank_lines"]:
            stored.write(newline)
        writer.writerow([*cells, *[""] * dialect["empty_cells"]])
    encoding = dialect["encoding"]
    content = UTF16.get(encoding, b"") + stored.getvalue().encode(encoding)
    return gzip.compress(content) if dialect["gzipped"] else content


#: Names that the reader keeps as they are: it drops no path part and strips nothing at the ends.
words = st.text("aB1ä_ ,;|'\"-", max_size=6).map("x{}x".format)
image_names = st.lists(words, min_size=1, max_size=3).map("/".join)
label_sets = st.one_of(
    st.just((NO_FINDING,)), st.sets(st.sampled_from(NIH_FINDINGS)).map(lambda found: tuple(sorted(found)))
)
label_rows = st.builds(
    LabelRow,
    image_name=image_names,
    findings=label_sets,
    patient_id=st.none() | st.integers(0, 10**12).map(str) | words,
    view=st.sampled_from([None, "AP", "PA", "LL"]),
    sex=st.sampled_from([None, "F", "M"]),
    age_years=st.none() | st.integers(0, 999).map(float),
    follow_up=st.none() | st.integers(0, 999),
)


@st.composite
def written_row(draw, row):
    """The cells of a row, in one of the spellings that the reader accepts."""
    findings = draw(st.permutations(row.findings))
    patient = "0" * draw(st.integers(0, 8)) + row.patient_id if (row.patient_id or "").isdigit() else row.patient_id
    age = "" if row.age_years is None else draw(st.sampled_from(["{:.0f}", "{:03.0f}Y"])).format(row.age_years)
    follow_up = "" if row.follow_up is None else draw(st.sampled_from(["{}", "{:03}"])).format(row.follow_up)
    labels = draw(st.sampled_from(["|", ";", " | "])).join(findings)
    image = draw(st.sampled_from(["{}", "./{}", " {} "])).format(row.image_name)
    return [image, labels, follow_up, patient, age, row.sex, row.view, "2048", "2500", draw(text)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a_table.csv"


def rows_or_one_sentence(path, reading):
    """The rows, or None if the file was refused in one sentence."""
    try:
        rows = read_labels_csv(path, reading).rows
    except UserError as error:
        sentence = str(error)
        assert sentence.startswith(f"{path}: ")
        assert sentence.isprintable(), "one line, and nothing that a terminal cannot show"
        assert len(sentence) < len(str(path)) + 350
        return None
    assert rows
    for row in rows:
        # SQL must be able to hold every text.
        assert "\0" not in repr(astuple(row))
        repr(astuple(row)).encode()
        assert row.image_name.encode()
        said = [*row.findings, *row.uncertain, *row.negative]
        assert set(said) <= {*SPECIFIC_FINDINGS, NO_FINDING}
        assert len(said) == len(set(said)), "a finding is only one of positive, uncertain and negative"
    return rows


@quick
@given(data=st.data(), rows=st.lists(label_rows, min_size=1, max_size=4, unique_by=lambda r: r.image_name), d=dialects)
def test_rows_in_any_dialect_read_back_as_the_same_rows(path, data, rows, d):
    """Separator, quotes, line ends, encoding, gzip, header spelling, label order and zeros change no row."""
    cells = [data.draw(written_row(row)) for row in rows]
    path.write_bytes(in_dialect(HEADER, cells, d))
    assert read_labels_csv(path).rows == tuple(rows)


of_layouts = [
    "Edema",
    "Pleural Effusion",
    "no_finding",
    "Oedma",
    "class_name",
    "class",
    "patientId",
    "Target",
    "Dicom_ID",
]
headers = st.lists(st.sampled_from([*HEADER, *of_layouts, "File", "Dx", "dx", "MRN", ""]) | text, max_size=8)
values = ["1", "0.0", "-1", "YES", "nan", "['mass', '']", "[x]"]
cell = text | st.sampled_from(
    ["a.png", "b/c.png", "..", "Mass", "No Finding|Mass", "normal", "060Y", "13", "=1+1", '"', *values]
)
readings = st.builds(
    Reading,
    columns=st.builds(Columns, image=st.sampled_from([None, "File"]), labels=st.sampled_from([None, "Dx"])),
    layout=st.sampled_from(["auto", "list", "columns", "rows"]),
    uncertain=st.sampled_from(["ignore", "positive", "negative"]),
    blank=st.sampled_from(["negative", "ignore"]),
    mapped=st.sampled_from([(), (("dx", "Mass"), ("x", ""))]),
    ignore_unknown=st.booleans(),
)


@quick
@given(
    header=headers,
    rows=st.lists(st.lists(cell, max_size=8), max_size=4),
    d=dialects,
    reading=readings,
)
def test_any_table_that_a_spreadsheet_writes_is_rows_or_one_sentence(path, header, rows, d, reading):
    """Any header above any cells raises no other exception, which the user would see as a traceback."""
    path.write_bytes(in_dialect(header, rows, d))
    rows_or_one_sentence(path, reading)


@quick
@given(
    rows=st.lists(st.lists(cell, min_size=2, max_size=4), min_size=1, max_size=4),
    d=dialects,
    columns=st.just(Columns(image="File", labels="Dx")),
)
def test_any_cells_under_a_valid_header_are_rows_or_one_sentence_with_the_row(path, rows, d, columns):
    """The refusal names a row, or says that there are none."""
    path.write_bytes(in_dialect(["File", "Dx", "Patient ID", "Patient Age"], rows, d))
    try:
        assert read_labels_csv(path, Reading(columns=columns)).rows
    except UserError as error:
        assert str(error).startswith(f"{path}: row ") or "no rows" in str(error)


@st.composite
def damaged(draw):
    """A valid file with a few bytes lost, doubled, replaced or cut off."""
    rows = draw(st.lists(label_rows, min_size=1, max_size=3))
    content = in_dialect(HEADER, [draw(written_row(row)) for row in rows], draw(dialects))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 20)))
        between = draw(st.binary(max_size=6) | st.just(content[start:end] * 2) | st.sampled_from([b'"', b"\r", b"\0"]))
        content = content[:start] + between + content[end:]
    return content[: draw(st.just(len(content)) | st.integers(0, len(content)))]


@quick
@given(content=damaged())
def test_any_damage_to_a_valid_file_leaves_rows_or_one_sentence(path, content):
    """Downloads break off, disks fail, editors are careless."""
    path.write_bytes(content)
    rows_or_one_sentence(path, Reading())
