"""A labels CSV is read whole or refused in one sentence that names the file, the row and the cause."""

import codecs
import gzip
import hashlib
import io
import re
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import db.labels.text
from db.errors import UserError
from db.findings import NIH_FINDINGS, NO_FINDING
from db.labels.columns import FIELDS, find_columns
from db.labels.csv_file import Columns, Reading, normalise_patient_id, parse_age, read_labels_csv
from db.labels.words import FindingWords

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"
DOCUMENTED = (Path(__file__).parents[4] / "docs" / "labels.md").read_text(encoding="utf-8")
HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def genuine(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the genuine file {name} is not in {DATA}")
    return path


@pytest.fixture
def write(tmp_path):
    """Writes a CSV of these rows under NIH's header, and returns its path."""

    def write(*rows, header=HEADER, newline="\n", name="some_labels.csv", start=b"", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(start + newline.join([header, *rows, ""]).encode(encoding))
        return path

    return write


def refusal(path, **columns):
    """The one sentence with which a file is refused."""
    with pytest.raises(UserError) as caught:
        read_labels_csv(path, Reading(columns=Columns(**columns)))
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert len(sentence) < len(str(path)) + 300
    return sentence


def test_the_genuine_file_gives_each_of_its_5606_rows():
    """Checks names, patients, ages in every notation, and the known label counts of NIH's sample."""
    path = genuine("sample_labels.csv")
    file = read_labels_csv(path)
    assert (len(file.rows), file.dataset) == (5606, "sample_labels")
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len({row.image_name for row in file.rows}) == 5606
    counts = Counter(finding for row in file.rows for finding in row.findings)
    # Counted in the text itself, without a parser.
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


def test_the_genuine_full_set_is_read_as_it_is_stored():
    """All of NIH's 2020 rows are gzipped, under a header with commas in names; the hash is of the stored bytes."""
    path = genuine("Data_Entry_2017_v2020.csv.gz")
    file = read_labels_csv(path)
    assert (len(file.rows), file.dataset) == (112_120, "Data_Entry_2017_v2020")
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len({row.patient_id for row in file.rows}) == 30_805
    assert {row.view for row in file.rows} == {"AP", "PA"}
    # NIH's 2020 file corrected the impossible ages.
    assert max(row.age_years for row in file.rows) == 95
    full = {row.image_name: row for row in file.rows}
    sample = read_labels_csv(genuine("sample_labels.csv")).rows
    assert sum(row.findings != full[row.image_name].findings for row in sample) == 10
    assert all(row.patient_id == full[row.image_name].patient_id for row in sample)


def test_what_excel_did_to_a_file_changes_no_row():
    """A file that a spreadsheet saved again (bare patient ids, other line ends) has the rows of the genuine one."""
    resaved = read_labels_csv(genuine("csv_variants/sample_labels_excel_resaved_5606.csv"))
    original = read_labels_csv(genuine("sample_labels.csv"))
    assert resaved.rows == original.rows
    assert resaved.sha256 != original.sha256


def test_an_excerpt_keeps_its_own_labels_and_the_genuine_patients():
    """In an excerpt with three corrected labels, everything else is as in the genuine file."""
    excerpt = read_labels_csv(genuine("csv_variants/sample_labels_excerpt.csv")).rows
    original = {row.image_name: row for row in read_labels_csv(genuine("sample_labels.csv")).rows}
    assert len(excerpt) > 40
    relabelled = [replace(row, findings=original[row.image_name].findings) for row in excerpt]
    assert relabelled == [original[row.image_name] for row in excerpt]
    changed = [row for row, same in zip(excerpt, relabelled, strict=True) if row != same]
    assert [row.findings for row in changed] == [("Pneumonia",)] * 3


def test_a_web_page_saved_as_a_csv_is_refused():
    """A page that GitHub or Jupyter shows instead of the file is not a labels file."""
    assert "not a labels file" in refusal(genuine("csv_variants/html_page_instead_of_csv.csv"))


@pytest.mark.parametrize(
    ("raw", "years"),
    [
        *(("060Y", 60), ("013M", 13 / 12), ("007W", 49 / 365.25), ("001D", 1 / 365.25), ("77", 77), ("411Y", 411)),
        *(("000Y", 0), (" 060y ", 60)),
    ],
)
def test_an_age_is_read_in_every_notation_of_nih(raw, years):
    """Years, months, days and bare numbers are understood; impossible ages stay as written."""
    assert parse_age(raw) == pytest.approx(years)


@pytest.mark.parametrize("raw", ["", "Y", "-3Y", "6.5Y", "abc", "060X", "Y60", "9999999999Y"])
def test_an_age_in_no_known_notation_is_unknown_not_zero(raw):
    """The reader guesses no age."""
    assert parse_age(raw) is None


@given(number=st.integers(min_value=0, max_value=10**9), zeros=st.integers(min_value=0, max_value=9))
def test_padded_and_bare_patient_ids_are_one_patient(number, zeros):
    """00000013 and 13 are the same person; so is any number of zeros."""
    assert normalise_patient_id("0" * zeros + str(number)) == str(number)


def test_a_patient_id_that_is_not_a_number_stays_as_it_is():
    """Only numbers lose their leading zeros; an empty cell is unknown."""
    assert [normalise_patient_id(raw) for raw in ("P007", " x ", "", "000")] == ["P007", "x", None, "0"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("start", [b"", codecs.BOM_UTF8])
def test_line_ends_and_byte_order_marks_change_no_row(write, newline, start):
    """The line ends of Windows, of old Macs and of a file that was converted twice change no row, nor does a BOM."""
    file = read_labels_csv(write("a.png,Mass|Edema,0,00000013,060Y,M,PA", newline=newline, start=start))
    (row,) = file.rows
    assert (row.image_name, row.findings, row.patient_id, row.follow_up) == ("a.png", ("Edema", "Mass"), "13", 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_each_encoding_that_excel_writes_is_read(write, encoding):
    """UTF-8, and the UTF-16 of Excel's "Unicode text", which has a byte order mark."""
    start = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    header, row = HEADER.replace(",", "\t"), "bild ü.png\tMass\t0\t13\t060Y\tM\tPA"
    (row,) = read_labels_csv(write(row, header=header, newline="\r\n", start=start, encoding=encoding)).rows
    assert (row.image_name, row.findings, row.view) == ("bild ü.png", ("Mass",), "PA")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("above", ["", "sep=#\r\n", "SEP=#\n", "\n\n"])
def test_the_header_determines_the_separator(write, separator, above):
    """Comma, a European Excel's semicolon or tab, below Excel's `sep=` line or blank lines."""
    header = HEADER.replace(",", separator)
    start = above.replace("#", separator).encode()
    row = "a.png,Edema,0,13,060Y,M,PA".replace(",", separator)
    (read,) = read_labels_csv(write(row, header=header, start=start)).rows
    assert (read.image_name, read.findings, read.patient_id, read.view) == ("a.png", ("Edema",), "13", "PA")
    bad = row.replace("Edema", "Flu")
    assert f"row {above.count(chr(10)) + 2}:" in refusal(write(bad, header=header, start=start))


def test_commas_in_a_header_separated_by_semicolons_do_not_separate(write):
    """The separator is the one that sets the image column apart, not the one that occurs most."""
    header = "Image Index;Finding Labels;Notes, e.g. a, b, c, d, e"
    (row,) = read_labels_csv(write("a,b.png;Mass;x, y, z", header=header)).rows
    assert (row.image_name, row.findings) == ("a,b.png", ("Mass",))


@pytest.mark.parametrize("name", ["set.csv.gz", "set.csv", "set.CSV.GZ", "set.gz"])
def test_content_tells_gzip_and_the_dataset_lacks_its_suffix(tmp_path, name):
    """A browser may drop or keep the suffix; the hash is of the stored bytes."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(f"{HEADER}\na.png,Mass,0,1,1Y,M,PA\n".encode()))
    file = read_labels_csv(path)
    assert (len(file.rows), file.dataset) == (1, "set")
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_blank_lines_and_rows_of_empty_cells_are_skipped(write):
    """Spreadsheets leave both; rows below keep their line numbers."""
    rows = ("", "a.png,Mass,0,1,1Y,M,PA", ",,,,,,", "  ", "b.png,Mass,0,1,1Y,M,PA", "")
    assert [row.image_name for row in read_labels_csv(write(*rows)).rows] == ["a.png", "b.png"]
    assert "row 7:" in refusal(write(*rows[:5], "c.png,Flu"))


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(write):
    """Every spreadsheet writes them like this; a stray space before the quote is allowed."""
    rows = ('"a, ""b"".png","Mass|Edema",0,1,1Y,M,"PA"', 'c.png, "Mass","0\r\n1",1,1Y,M,PA')
    first, second = read_labels_csv(write(*rows)).rows
    assert (first.image_name, first.findings, first.view) == ('a, "b".png', ("Edema", "Mass"), "PA")
    assert (second.image_name, second.findings, second.follow_up) == ("c.png", ("Mass",), None)


def test_stray_spaces_around_a_cell_are_stripped(write):
    """Hand-edited files have them."""
    (row,) = read_labels_csv(write(" a.png , Mass | Edema , 0 , 13 , 060Y , M , PA ")).rows
    assert (row.image_name, row.findings, row.follow_up, row.patient_id) == ("a.png", ("Edema", "Mass"), 0, "13")
    assert (row.age_years, row.sex, row.view) == (60, "M", "PA")


def test_a_follow_up_that_sql_cannot_hold_is_unknown(write):
    """So is one that is not a number; the reader guesses none."""
    rows = read_labels_csv(write("a.png,Mass,99999999999999999999", "b.png,Mass,x", "c.png,Mass,003")).rows
    assert [row.follow_up for row in rows] == [None, None, 3]


def test_a_row_has_the_number_of_the_line_it_begins_on(write):
    """Line ends inside cells, above or in the row, do not shift the number from what an editor shows."""
    header = HEADER + ',"a note\nof two lines"'
    rows = ('a.png,Mass,0,1,1Y,M,PA,"1\n2\n3"', 'b.png,Flu,0,1,1Y,M,PA,"1\n2"')
    assert "row 6: 'Finding Labels' has 'Flu'" in refusal(write(*rows, header=header))


def test_a_quote_that_is_never_closed_is_refused_where_it_opens(write):
    """Otherwise it would swallow every row below it, even in a column that is not read."""
    header = "Image Index,Finding Labels,note"
    assert "row 3:" in refusal(write("a.png,Mass,x", 'b.png,Mass,"5 cm', "c.png,Mass,x", header=header))


def test_invalid_utf8_matters_only_in_a_column_that_is_read(write):
    """The reader guesses no Windows code page; in a column of remarks its bytes do no harm."""
    header = "Image Index;Finding Labels;Größe"
    (row,) = read_labels_csv(write("a.png;Mass;groß", header=header, encoding="cp1252")).rows
    assert row.findings == ("Mass",)
    sentence = refusal(write("a.png;Mass;x", "ä.png;Mass;x", header=header, encoding="cp1252"))
    assert "row 3: 'Image Index' is not valid UTF-8" in sentence


@pytest.mark.parametrize(
    "header",
    [
        HEADER + ",OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]",
        HEADER.replace("Gender", "Sex"),
        HEADER.replace(" ", "_"),
        HEADER + ",",
        HEADER.lower(),
        HEADER.replace(",", " , ").replace(" I", "  I").upper(),
    ],
)
def test_each_header_that_nih_published_is_understood(write, header):
    """Headers have commas in names, `Sex` for `Gender`, underscores, a trailing comma, stray spaces or other case."""
    (row,) = read_labels_csv(write("a.png,Mass,3,13,060Y,F,PA", header=header)).rows
    assert (row.sex, row.view, row.follow_up, row.age_years, row.patient_id) == ("F", "PA", 3, 60.0, "13")


def test_two_columns_are_enough(write):
    """Image and findings are required; the values of other missing columns are unknown."""
    (row,) = read_labels_csv(write("a.png,No Finding", header="Image Index,Finding Labels")).rows
    assert row.findings == (NO_FINDING,)
    assert (row.patient_id, row.view, row.sex, row.age_years, row.follow_up) == (None,) * 5


def test_no_label_is_unlabelled_not_normal(write):
    """An empty cell gives no finding at all, not even `No Finding`."""
    (row,) = read_labels_csv(write("a.png,,0,13,060Y,M,PA")).rows
    assert row.findings == ()


def test_no_finding_beside_a_disease_is_refused(write):
    """A scan cannot be both; the message names the row."""
    sentence = refusal(write("a.png,Mass,0,1,1Y,M,PA", "b.png,Mass|No Finding,0,1,1Y,M,PA"))
    assert "row 3" in sentence
    assert "No Finding" in sentence


def test_an_unknown_finding_is_refused_with_its_row_column_and_value(write):
    """A misspelt finding must not be dropped."""
    sentence = refusal(write("a.png,Mass|Efusion,0,1,1Y,M,PA"))
    assert "row 2: 'Finding Labels' has 'Efusion'" in sentence
    assert "xx..." in refusal(write(f"a.png,{'x' * 900},0,1,1Y,M,PA"))


def test_one_image_with_two_different_rows_is_refused(write):
    """The message names both rows."""
    sentence = refusal(write("a.png,Mass,0,1,1Y,M,PA", "b.png,Mass,0,1,1Y,M,PA", "a.png,Edema,0,1,1Y,M,PA"))
    assert "row 4" in sentence
    assert "row 2" in sentence


def test_one_image_with_two_equal_rows_is_one_scan(write):
    """A repeated row is harmless; the order of its findings does not matter."""
    rows = read_labels_csv(write("a.png,Mass|Edema,0,1,1Y,M,PA", "a.png,Edema|Mass,0,1,1Y,M,PA")).rows
    assert [row.image_name for row in rows] == ["a.png"]


def test_a_header_alone_is_refused(write):
    """A file without rows is a mistake, not an empty run."""
    assert "no rows" in refusal(write())


def test_a_missing_column_is_refused_with_its_name(write):
    """The message also quotes the columns that are there."""
    sentence = refusal(write("a.png,Mass", header="Bild,Finding Labels"))
    assert "no column of image names, such as 'Image Index', among 'Bild', 'Finding Labels'" in sentence
    assert "name it with --image-column" in sentence
    assert "'Finding Labels'" in refusal(write("a.png,Mass", header="Image Index,Befund"))


def documented_columns():
    """The table of columns in docs/labels.md, as (field, name, its rank of names, flag)."""
    text = DOCUMENTED[
        DOCUMENTED.index("| column | NIH's name |") : DOCUMENTED.index("NIH's name goes before the others")
    ]
    rows = [line.strip("| ").split("|") for line in text.splitlines()[2:] if line.startswith("|")]
    for field, (_, nih, others, *further) in zip(FIELDS, rows, strict=True):
        last, flag = [*further, "", ""][:2]
        for rank, names in (("nih", nih), ("others", others), ("last", last)):
            for name in re.findall("`([A-Z].*?)`", names):
                yield field, name, rank, flag.strip(" `")


@pytest.mark.parametrize(("field", "name", "rank", "flag"), [*documented_columns()])
def test_a_column_is_found_by_each_name_that_the_docs_list(field, name, rank, flag):
    """Case, spaces and marks do not matter, and docs/labels.md lists neither more nor less than the reader knows."""
    for spelling in (name, name.upper(), name.replace(" ", ""), name.lower().replace(" ", "_"), f" {name} ."):
        header = ["x", spelling, *(FIELDS[other].nih[0] for other in FIELDS if other != field and FIELDS[other].nih)]
        column = getattr(find_columns(header, Reading(), FindingWords((), ignore_unknown=False)), field)
        assert (column.index, column.name) == (1, spelling.strip()), spelling
    known = FIELDS[field]
    assert name in getattr(known, rank)
    count = len(known.nih) + len(known.others) + len(known.last)
    assert len([one for one in documented_columns() if one[0] == field]) == count
    assert flag == (known.flag or "")


def test_a_patient_column_of_one_word_gives_patients(write):
    """`PatientID` and its neighbours, as DICOM spells them, are read like NIH's."""
    header = "Image Index,Finding Labels,PatientID,PatientAge,PatientSex,ViewPosition"
    (row,) = read_labels_csv(write("a.png,Mass,007,060Y,F,PA", header=header)).rows
    assert (row.patient_id, row.age_years, row.sex, row.view) == ("7", 60, "F", "PA")


@pytest.mark.parametrize(
    ("header", "named", "remedy"),
    [
        ("Image Index,Labels,patient_id,PatientID", "'patient_id' and 'PatientID'", "--patient-column, or rename"),
        ("Image Index,Labels,subject_id,MRN", "'subject_id' and 'MRN'", "name one with --patient-column, or rename"),
        ("image_id,Labels,path,x", "'image_id' and 'path'", "name one with --image-column, or rename"),
        ("Image Index,label,findings,x", "'label' and 'findings'", "name one with --label-column, or rename"),
        ("Image Index,Labels,age,Age years", "'age' and 'Age years'", "ages; rename all but one"),
        ("Image Index,Labels,Patient ID,Patient ID", "'Patient ID' and 'Patient ID'", "ids; rename all but one"),
    ],
)
def test_two_columns_for_one_field_are_refused_with_both_and_the_flag(write, header, named, remedy):
    """Which patient a scan belongs to is not guessed; a flag is no remedy where there is none, or names are equal."""
    sentence = refusal(write("a.png,Mass,1,1", header=header))
    assert f"row 1: columns {named} may each hold the " in sentence
    assert remedy in sentence


@pytest.mark.parametrize(
    "header", ["path,subject_id,Image Index,Labels,patient_id", "a,patient_id,image index,labels,Patient ID"]
)
def test_nihs_name_goes_before_other_names_and_the_exact_one_before_similar_ones(write, header):
    """A file that was read by NIH's names is read as before, whatever other columns it has."""
    (row,) = read_labels_csv(write("1.png,1,2.png,Mass,2", header=header)).rows
    assert (row.image_name, row.patient_id) == ("2.png", "2")


def test_a_flag_decides_between_two_columns(write):
    """The named column is taken, and no other."""
    path = write("1,a.png,Mass,4", header="MRN,image,Labels,subject_id")
    (row,) = read_labels_csv(path, Reading(columns=Columns(patient="subject_id"))).rows
    assert row.patient_id == "4"


def test_the_separator_is_the_one_that_sets_most_columns_apart(write):
    """A remark in a header may hold a comma and a name that is a column's elsewhere."""
    header = "Image Index;Finding Labels;Notes, path, a, b, c"
    (row,) = read_labels_csv(write("a,b.png;Mass;x", header=header)).rows
    assert (row.image_name, row.findings) == ("a,b.png", ("Mass",))


@pytest.mark.parametrize(
    "image",
    [
        *("", " ", ".", "./", "a/", "../a.png", "a/../../b.png", "..\\a.png", "/etc/passwd", "C:\\films\\a.png"),
        *("\\\\server\\a.png", "s3://bucket/a.png", "a\0.png", '"a\n.png"', "x" * 1025),
    ],
)
def test_an_invalid_image_name_is_refused(write, image):
    """An image name must name a file in the images' folder or below it."""
    assert "row 2: " in refusal(write(f"{image},Mass,0,1,1Y,M,PA"))


@pytest.mark.parametrize(
    "image", ["p1/study 1/a.png", "./p1/study 1/a.png", "p1\\study 1\\a.png", ".\\p1/./study 1/a.png"]
)
def test_an_image_may_be_named_by_its_path_below_the_folder(write, image):
    """CheXpert does so; Windows' backslashes and a leading `./` are other spellings of the same path."""
    (row,) = read_labels_csv(write(f"{image},Mass,0,1,1Y,M,PA")).rows
    assert row.image_name == "p1/study 1/a.png"


def test_a_short_row_has_no_labels_and_empty_cells_no_effect(write):
    """Spreadsheets leave off empty cells at the end of a row, or add some beyond the header."""
    short, long = read_labels_csv(write("a.png", "b.png,Mass,0,1,1Y,M,PA,, ,")).rows
    assert (short.findings, short.patient_id) == ((), None)
    assert (long.findings, long.patient_id) == (("Mass",), "1")


def workbook():
    """The first bytes of an xlsx file."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return stored.getvalue()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ""),
        (b"\xff\xd8\xff\xe0 and no NUL", "not valid UTF-8"),
        (workbook(), "an Excel workbook (or other zip archive); save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old Excel workbook; save it as CSV"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git LFS pointer"),
        (codecs.BOM_UTF8 + b"\n <!DOCTYPE html>", "a web page"),
        (gzip.compress(b"<html>", mtime=0), "a web page"),
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"\r\n \r\n", "empty"),
        (b"\0\0\0\0", "NUL"),
        (gzip.compress(gzip.compress(b"Image Index,Finding Labels", mtime=0), mtime=0), ""),
        ("Image Index".encode("utf-16"), "'Finding Labels'"),
        ("Image Index,Finding Labels\na.png,Mass".encode("utf-16")[:-1], "not valid utf-16"),
        (gzip.compress(HEADER.encode(), mtime=0)[:-9], "its gzip is damaged"),
        (gzip.compress(HEADER.encode(), mtime=0)[:-4] + b"abcd", "its gzip is damaged"),
        (gzip.compress(HEADER.encode(), mtime=0)[:10] + b"\xff" * 20, "its gzip is damaged"),
        (gzip.compress(HEADER.encode(), mtime=0) + b"x", "its gzip is damaged"),
        (b"\x1f\x8b", "its gzip is damaged"),
        (b"\x1f\x8b" + bytes(99), "its gzip is damaged"),
    ],
)
def test_another_format_is_refused_with_its_name(tmp_path, content, cause):
    """The message names pictures, workbooks, web pages, empty files, zeros and truncated downloads."""
    path = tmp_path / "some_labels.csv"
    path.write_bytes(content)
    assert "labels file" in refusal(path)
    assert cause in refusal(path)


@pytest.mark.parametrize("bomb", [b"x", b"\n", b"x,Mass\n", b'"'])
def test_a_gzip_bomb_ends_in_a_sentence(tmp_path, monkeypatch, bomb):
    """The reader stops at the limit, whatever the file unpacks to."""
    monkeypatch.setattr(db.labels.text, "MAX_CHARACTERS", 10**6)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n".encode() + bomb * (10**7 // len(bomb)), 1))
    assert "row " in refusal(path)


def test_a_cell_longer_than_any_table_has_is_refused(write):
    """An unclosed quote swallows the rest of a large file; the message names its row."""
    assert "row 2: a cell has no end" in refusal(write('a.png,"' + "x\n" * 100_000))
    assert "row 3: not a labels file: the line has over" in refusal(write("", "a.png,Mass," + "x" * 200_000))


@given(content=st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything_but_a_refusal(tmp_path_factory, content):
    """Any other exception would reach the user as a traceback."""
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    refusal(path)


@given(
    cells=st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=8).map(",".join), max_size=4)
)
def test_no_cells_whatever_raise_anything_but_a_refusal(tmp_path_factory, cells):
    """Any text under a valid header gives rows or a refusal."""
    path = tmp_path_factory.getbasetemp() / "fuzz_cells.csv"
    path.write_bytes("\n".join([HEADER, *cells]).encode())
    try:
        assert read_labels_csv(path).rows
    except UserError as error:
        assert str(error).startswith(f"{path}: ")


def hospital(write, *rows, header="MRN;File;Dx;Note", **columns):
    named = {"image": "File", "labels": "Dx", "patient": "MRN"} | columns
    return read_labels_csv(write(*rows, header=header), Reading(columns=Columns(**named))).rows


def test_a_hospitals_own_columns_are_read_by_their_names(write):
    """The flags name the columns; the values of other columns are unknown."""
    (row,) = hospital(write, "H-007;2026/11/a.dcm.png;Mass|Edema;x")
    assert (row.image_name, row.patient_id, row.findings) == ("2026/11/a.dcm.png", "H-007", ("Edema", "Mass"))
    assert (row.view, row.sex, row.age_years, row.follow_up) == (None,) * 4


@pytest.mark.parametrize(
    ("cell", "findings"),
    [
        ("pleural thickening", ("Pleural_Thickening",)),
        ("PLEURAL-THICKENING | mass", ("Mass", "Pleural_Thickening")),
        ('"Edema; Effusion;"', ("Edema", "Effusion")),
        ("No finding", (NO_FINDING,)),
        ("no_findings", (NO_FINDING,)),
        ("Normal", (NO_FINDING,)),
        ("normal|No Finding", (NO_FINDING,)),
        (" ", ()),
    ],
)
def test_a_hospitals_spelling_of_a_finding_is_nihs_finding(write, cell, findings):
    """Case, spaces, underscores and hyphens do not matter; `|` or `;` separates; `normal` means `No Finding`."""
    (row,) = hospital(write, f"1;a.png;{cell};x")
    assert row.findings == findings


def test_every_nih_finding_is_known_in_any_spelling(write):
    """All fifteen words are understood."""
    spelt = [finding.swapcase().replace("_", "-") for finding in (*NIH_FINDINGS, NO_FINDING)]
    rows = hospital(write, *(f"1;{number}.png;{cell};" for number, cell in enumerate(spelt)))
    assert [row.findings for row in rows] == [(finding,) for finding in (*NIH_FINDINGS, NO_FINDING)]


def test_a_csv_with_a_named_image_column_may_have_no_labels(write):
    """Its scans are unlabelled; without the flag, a CSV without labels is a mistake."""
    (row,) = hospital(write, "1;a.png", header="MRN;File", labels=None)
    assert row.findings == ()
    assert "'Finding Labels'" in refusal(write("a.png", header="Image Index"))


def test_nihs_column_names_work_beside_a_hospitals(write):
    """Naming one column leaves the others as they are."""
    header = "File,Finding Labels,Patient ID,Patient Age,Patient Sex,View Position"
    path = write("a.png,Mass,007,060Y,F,PA", header=header)
    (row,) = read_labels_csv(path, Reading(columns=Columns(image="File"))).rows
    assert (row.findings, row.patient_id, row.age_years, row.sex, row.view) == (("Mass",), "7", 60, "F", "PA")


def test_an_exact_column_name_goes_before_a_similar_one(write):
    """A hospital may have `ID` and `id`; two similar columns are refused."""
    (row,) = hospital(write, "x;a.png;Mass;y", header="ID;File;Dx;id", patient="id")
    assert row.patient_id == "y"
    path = write("x;a.png;Mass;y", header="ID;File;Dx;id")
    assert "columns 'ID' and 'id' may each hold" in refusal(path, image="file", labels="DX", patient="Id")


@pytest.mark.parametrize("flag", ["image", "labels", "patient"])
def test_a_missing_named_column_is_refused_with_the_present_ones(write, flag):
    """A misspelt name must not make scans unlabelled or patients unknown."""
    named = {"image": "File", "labels": "Dx", "patient": "MRN"} | {flag: "Bild"}
    sentence = refusal(write("1;a.png;Mass;x", header="MRN;File;Dx;Note"), **named)
    assert "row 1: not a labels file: no column 'Bild' among 'MRN', 'File', 'Dx', 'Note'" in sentence


def test_the_message_names_a_missing_file(tmp_path):
    """A wrong path and a folder are the user's mistakes too."""
    assert "cannot be read" in refusal(tmp_path / "nowhere.csv")
    assert "cannot be read" in refusal(tmp_path)


def test_a_file_whose_name_sql_cannot_hold_is_refused(tmp_path):
    """The dataset is named after the file, and SQL cannot hold a name that is not valid UTF-8."""
    path = tmp_path / "labels\udcff.csv"
    path.write_bytes(f"{HEADER}\na.png,Mass,0,1,1Y,M,PA\n".encode())
    with pytest.raises(UserError, match="name is not valid UTF-8"):
        read_labels_csv(path)


def test_two_rows_that_lost_the_line_end_between_them_are_refused(write):
    """Otherwise one scan would be lost, and the other would belong to a patient who does not exist."""
    path = write("a.png,Mass,1300000003_001.png,Effusion,14", header="Image Index,Finding Labels,Patient ID")
    assert "row 2: has 5 cells under 3 columns" in refusal(path)


def test_a_file_that_ends_in_the_middle_of_its_last_row_is_refused(write):
    """In half a download, patient 1300 would become patient 1."""
    path = write("a.png,Mass,0,13,60,M,PA", "b.png,Mass,1,1300,61,F,AP")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"00,61")])
    assert "row 3: the file ends in the middle of it" in refusal(path)
    path.write_bytes(whole.rstrip(b"\n"))
    assert len(read_labels_csv(path).rows) == 2, "only its last line end is missing"


def test_whole_numbers_are_read_as_pandas_writes_them_beside_gaps(write):
    """`13.0` is patient 13 and `nan` is unknown: forgetting patient 13 must find every scan."""
    one, other = read_labels_csv(write("a.png,Mass,2.0,13.0,60.0,M,PA", "b.png,Mass,nan,nan,nan,M,PA")).rows
    assert (one.patient_id, one.follow_up, one.age_years) == ("13", 2, 60.0)
    assert (other.patient_id, other.follow_up, other.age_years) == (None, None, None)
    assert [normalise_patient_id(raw) for raw in ("1.2.0", "13.5", "P1.0")] == ["1.2.0", "13.5", "P1.0"]


@pytest.mark.parametrize("cell", ["2.01911E+11", "2E+15", '"2,01911E+11"', "1.5e+16"])
@pytest.mark.parametrize("column", ["Patient ID", "Image Index"])
def test_an_id_in_scientific_notation_is_refused(write, cell, column):
    """Excel shortens long numbers, and forty patients would become one; the sentence repeats no id."""
    row = f"a.png,Mass,{cell}" if column == "Patient ID" else f"{cell},Mass,1"
    sentence = refusal(write("0.png,Mass,1", row, header="Image Index,Finding Labels,Patient ID"))
    assert f"row 3: {column!r} is in scientific notation" in sentence
    assert "format the column as text" in sentence
    assert cell.strip('"') not in sentence


@pytest.mark.parametrize("cell", ["1E5", "12E+5", "E+11", "1.2E-11", "2.01911E+11.png"])
def test_an_id_that_only_resembles_scientific_notation_stays(write, cell):
    """Excel writes one digit before the point, a sign and two digits of exponent; hospitals have ids like `1E5`."""
    (row,) = read_labels_csv(write(f"{cell},Mass,{cell}", header="Image Index,Finding Labels,Patient ID")).rows
    assert (row.image_name, row.patient_id) == (cell, cell)


@pytest.mark.parametrize("cell", ['"1,234"', '"12,345,678"', "13.000"])
def test_a_patient_id_with_thousands_separators_is_refused(write, cell):
    """`1,234` would be another patient than `1234`, and `13.000` was read as patient 13."""
    sentence = refusal(write(f"a.png,Mass,{cell}", header="Image Index,Finding Labels,Patient ID"))
    assert "row 2: 'Patient ID' seems to have thousands separators" in sentence


@pytest.mark.parametrize("cell", ["#N/A", "#NV", "#REF!", "#NAME?", "#DIV/0!", "########"])
def test_a_spreadsheets_error_is_no_patient(write, cell):
    """Everybody whose id was not found would be one patient."""
    sentence = refusal(write(f"a.png,Mass,{cell}", header="Image Index,Finding Labels,Patient ID"))
    assert "row 2: 'Patient ID' is a spreadsheet's error instead of an id" in sentence
