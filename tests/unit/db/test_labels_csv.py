"""A labels CSV is read whole or refused in one sentence that names the file, the row and the cause."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.errors import UserError
from db.findings import NIH_FINDINGS, NO_FINDING
from db.labels_csv import age_in_years, normal_patient_id, read_labels_csv

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def genuine(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the genuine file {name} is not in {DATA}")
    return path


@pytest.fixture
def write(tmp_path):
    """Write a CSV of these rows (or bytes) under NIH's header; gives its path."""

    def write(*rows, header=HEADER, newline="\n", name="some_labels.csv", start=b""):
        path = tmp_path / name
        path.write_bytes(start + newline.join([header, *rows, ""]).encode())
        return path

    return write


def refusal(path):
    """The one sentence with which a file is refused."""
    with pytest.raises(UserError) as caught:
        read_labels_csv(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert len(sentence) < len(str(path)) + 300
    return sentence


def test_the_genuine_file_gives_each_of_its_5606_rows():
    """Row for row: names, patients, ages in every notation, and the label counts that NIH's sample is known for."""
    path = genuine("sample_labels.csv")
    file = read_labels_csv(path)
    assert (len(file.rows), file.dataset) == (5606, "sample_labels")
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len({row.image_name for row in file.rows}) == 5606
    counts = Counter(finding for row in file.rows for finding in row.findings)
    # As counted in the text itself, with no parser between.
    text = path.read_text()
    cells = Counter(part for line in text.splitlines()[1:] for part in line.split(",")[1].split("|"))
    assert counts == cells
    assert set(counts) == {*NIH_FINDINGS, NO_FINDING}
    assert {row.sex for row in file.rows} == {"M", "F"}
    assert {row.view for row in file.rows} == {"AP", "PA"}
    assert None not in {row.age_years for row in file.rows}
    assert None not in {row.patient_id for row in file.rows}
    assert max(row.age_years for row in file.rows) == 411
    first = file.rows[0]
    assert (first.image_name, first.patient_id, first.age_years, first.view) == ("00000013_005.png", "13", 60.0, "AP")
    assert first.findings == ("Emphysema", "Infiltration", "Pleural_Thickening", "Pneumothorax")


def test_what_excel_did_to_a_file_changes_no_row():
    """A file that a spreadsheet saved again (bare patient ids, other line ends) says what the genuine one says."""
    resaved = read_labels_csv(genuine("csv_variants/sample_labels_excel_resaved_5606.csv"))
    original = read_labels_csv(genuine("sample_labels.csv"))
    assert resaved.rows == original.rows
    assert resaved.sha256 != original.sha256


def test_an_excerpt_keeps_its_own_labels_and_the_genuine_patients():
    """Somebody's excerpt, with three labels corrected: everything that no reader decides is as in the genuine file."""
    excerpt = read_labels_csv(genuine("csv_variants/sample_labels_excerpt.csv")).rows
    original = {row.image_name: row for row in read_labels_csv(genuine("sample_labels.csv")).rows}
    assert len(excerpt) > 40
    relabelled = [replace(row, findings=original[row.image_name].findings) for row in excerpt]
    assert relabelled == [original[row.image_name] for row in excerpt]
    changed = [row for row, same in zip(excerpt, relabelled, strict=True) if row != same]
    assert [row.findings for row in changed] == [("Pneumonia",)] * 3


def test_a_web_page_saved_as_a_csv_is_refused():
    """Who saves GitHub's or Jupyter's page instead of the file learns that it is no labels file."""
    assert "not a labels file" in refusal(genuine("csv_variants/html_page_instead_of_csv.csv"))


@pytest.mark.parametrize(
    ("raw", "years"),
    [("060Y", 60), ("013M", 13 / 12), ("001D", 1 / 365.25), ("77", 77), ("411Y", 411), ("000Y", 0), (" 060y ", 60)],
)
def test_an_age_is_read_in_every_notation_of_nih(raw, years):
    """Years, months, days and bare numbers; impossible ages are kept as written."""
    assert age_in_years(raw) == pytest.approx(years)


@pytest.mark.parametrize("raw", ["", "Y", "-3Y", "6.5Y", "abc", "060X", "Y60"])
def test_an_age_in_no_known_notation_is_unknown_not_zero(raw):
    """Nothing is guessed at."""
    assert age_in_years(raw) is None


@given(number=st.integers(min_value=0, max_value=10**9), zeros=st.integers(min_value=0, max_value=9))
def test_padded_and_bare_patient_ids_are_one_patient(number, zeros):
    """00000013 and 13 are the same person; so is any number of zeros."""
    assert normal_patient_id("0" * zeros + str(number)) == str(number)


def test_a_patient_id_that_is_no_number_stays_as_it_is():
    """Only numbers lose zeros; nothing at all is unknown."""
    assert [normal_patient_id(raw) for raw in ("P007", " x ", "", "000")] == ["P007", "x", None, "0"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks_change_no_row(write, newline, start):
    """Windows' line ends and BOM are invisible."""
    file = read_labels_csv(write("a.png,Mass|Edema,0,00000013,060Y,M,PA", newline=newline, start=start))
    (row,) = file.rows
    assert (row.image_name, row.findings, row.patient_id, row.follow_up) == ("a.png", ("Edema", "Mass"), "13", 0)


@pytest.mark.parametrize(
    "header",
    [
        HEADER + ",OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]",
        HEADER.replace("Gender", "Sex"),
        HEADER.replace(" ", "_"),
    ],
)
def test_each_header_that_nih_published_is_understood(write, header):
    """Commas in names, `Sex` for `Gender`, underscores for spaces."""
    (row,) = read_labels_csv(write("a.png,Mass,3,13,060Y,F,PA", header=header)).rows
    assert (row.sex, row.view, row.follow_up, row.age_years, row.patient_id) == ("F", "PA", 3, 60.0, "13")


def test_two_columns_are_enough(write):
    """Image and findings are needed; what else is absent is unknown."""
    (row,) = read_labels_csv(write("a.png,No Finding", header="Image Index,Finding Labels")).rows
    assert row.findings == (NO_FINDING,)
    assert (row.patient_id, row.view, row.sex, row.age_years, row.follow_up) == (None,) * 5


def test_no_label_is_unlabelled_not_normal(write):
    """An empty cell gives no finding at all, not even `No Finding`."""
    (row,) = read_labels_csv(write("a.png,,0,13,060Y,M,PA")).rows
    assert row.findings == ()


def test_no_finding_beside_a_disease_is_refused(write):
    """A scan cannot be both; the row is named."""
    sentence = refusal(write("a.png,Mass,0,1,1Y,M,PA", "b.png,Mass|No Finding,0,1,1Y,M,PA"))
    assert "row 3" in sentence
    assert "No Finding" in sentence


def test_an_unknown_finding_is_refused_with_its_name_and_row(write):
    """A misspelt disease must not vanish."""
    sentence = refusal(write("a.png,Mass|Efusion,0,1,1Y,M,PA"))
    assert "row 2" in sentence
    assert "'Efusion'" in sentence


def test_one_image_with_two_different_rows_is_refused(write):
    """Neither row is believed; both are named."""
    sentence = refusal(write("a.png,Mass,0,1,1Y,M,PA", "b.png,Mass,0,1,1Y,M,PA", "a.png,Edema,0,1,1Y,M,PA"))
    assert "row 4" in sentence
    assert "row 2" in sentence


def test_one_image_with_two_equal_rows_is_one_scan(write):
    """Saying a thing twice is harmless; the order of its findings says nothing."""
    rows = read_labels_csv(write("a.png,Mass|Edema,0,1,1Y,M,PA", "a.png,Edema|Mass,0,1,1Y,M,PA")).rows
    assert [row.image_name for row in rows] == ["a.png"]


def test_a_header_alone_is_refused(write):
    """No rows is a mistake, not an empty run."""
    assert "no rows" in refusal(write())


def test_a_missing_column_is_refused_with_its_name(write):
    """And with what the first row holds instead."""
    sentence = refusal(write("a.png,Mass", header="file,Finding Labels"))
    assert "'Image Index'" in sentence
    assert "file" in sentence
    assert "'Finding Labels'" in refusal(write("a.png,Mass", header="Image Index,labels"))


@pytest.mark.parametrize("image", ["", " ", "../a.png", "/etc/passwd", "a\0.png"])
def test_what_is_no_file_name_is_refused(write, image):
    """An image name names a file in a folder, and nothing outside of it."""
    assert "row 2" in refusal(write(f"{image},Mass,0,1,1Y,M,PA"))


def test_a_short_row_has_no_labels_and_a_long_one_no_effect(write):
    """A row that ends early is unlabelled; cells beyond the header are ignored."""
    short, long = read_labels_csv(write("a.png", "b.png,Mass,0,1,1Y,M,PA,,,x")).rows
    assert (short.findings, short.patient_id) == ((), None)
    assert (long.findings, long.patient_id) == (("Mass",), "1")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"PK\x03\x04\xff\xfe", b"", b"\0\0\0\0", "Image Index".encode("utf-16")],
    ids=["png", "xlsx", "empty", "zeros", "utf-16"],
)
def test_what_is_no_text_table_is_refused(tmp_path, content):
    """A picture, a spreadsheet's own format, nothing, zeros."""
    path = tmp_path / "some_labels.csv"
    path.write_bytes(content)
    assert "not a labels file" in refusal(path)


def test_a_cell_longer_than_any_table_has_is_refused(write):
    """An unclosed quote swallows the rest of a large file; its row is named."""
    assert "row " in refusal(write('a.png,"' + "x" * 200_000))


@given(content=st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything_but_a_refusal(tmp_path_factory, content):
    """Anything else would reach a person as a traceback."""
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    refusal(path)


@given(
    cells=st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=8).map(",".join), max_size=4)
)
def test_no_cells_whatever_raise_anything_but_a_refusal(tmp_path_factory, cells):
    """Rows of any text under a right header are rows or a refusal."""
    path = tmp_path_factory.getbasetemp() / "fuzz_cells.csv"
    path.write_bytes("\n".join([HEADER, *cells]).encode())
    try:
        assert read_labels_csv(path).rows
    except UserError as error:
        assert str(error).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_named(tmp_path):
    """A wrong path and a folder are the person's mistake too."""
    assert "cannot be read" in refusal(tmp_path / "nowhere.csv")
    assert "cannot be read" in refusal(tmp_path)
