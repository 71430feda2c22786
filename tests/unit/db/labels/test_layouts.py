"""Labels are read in each layout that data sets have, and what a file does not say stays unknown."""

import hashlib
from pathlib import Path

import pytest

from db.errors import UserError
from db.findings import CHEXPERT_FINDINGS, NIH_FINDINGS, NO_FINDING
from db.labels.csv_file import Columns, Reading, read_labels_csv

LAYOUTS = Path(__file__).parents[3] / "support" / "label_layouts"
NORMAL = (NO_FINDING,)
CHEXPERT_NIH = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Pneumonia", "Pneumothorax")


def read(name, **reading):
    return read_labels_csv(LAYOUTS / f"{name}.csv", Reading(**reading))


def labels(file):
    """Of each scan: what is positive, uncertain and negative."""
    return [(row.findings, row.uncertain, row.negative) for row in file.rows]


@pytest.fixture
def write(tmp_path):
    """Writes a CSV of these lines, and returns its path."""

    def write(*lines):
        path = tmp_path / "labels.csv"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def refusal(path, **reading):
    with pytest.raises(UserError) as caught:
        read_labels_csv(path, Reading(**reading))
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert len(sentence) < len(str(path)) + 300
    return sentence.removeprefix(f"{path}: ")


def test_chexperts_columns_are_positive_uncertain_or_by_default_negative():
    """-1 is neither; a blank is 0, as its authors train; `No Finding` may stand beside a device."""
    file = read("chexpert")
    unsure = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion")
    assert labels(file) == [
        ((NO_FINDING, "Support Devices"), (), ()),
        (("Fracture", "Lung Opacity"), unsure, ()),
        (("Fracture", "Lung Opacity"), unsure, ()),
        (("Edema",), (), ()),
        # Every cell is blank: read, and nothing found.
        ((), (), NORMAL),
    ]
    assert file.covered == (*CHEXPERT_NIH, *CHEXPERT_FINDINGS)
    assert file.reading == {"layout": "columns", "uncertain": "ignore", "blank": "negative"}
    assert file.rows[0].image_name == "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"
    assert [(row.sex, row.age_years, row.view) for row in file.rows[1:4]] == [
        ("Female", 87, "AP"),
        ("Female", 87, "Lateral"),
        ("Male", 41, "PA"),
    ]


def test_blanks_may_be_unknown_but_not_where_nothing_was_found():
    """A blank beside `No Finding` is 0, a device's excepted; a row of blanks is unlabelled."""
    file = read("chexpert", blank="ignore")
    healthy, _, _, edema, blank = labels(file)
    others = sorted({*CHEXPERT_NIH, *CHEXPERT_FINDINGS} - {"Support Devices"})
    assert healthy == ((NO_FINDING, "Support Devices"), (), tuple(others))
    assert edema == (("Edema",), (), ("Effusion", "Pneumothorax"))
    assert blank == ((), (), ())
    assert not file.rows[4].is_labelled
    assert file.covered == ()


@pytest.mark.parametrize(("uncertain", "found"), [("positive", {"Edema", "Effusion"}), ("negative", set())])
def test_uncertain_findings_may_be_counted_as_either(uncertain, found):
    """U-Ones and U-Zeros, as the CheXpert paper calls them."""
    row = read("chexpert", uncertain=uncertain).rows[1]
    assert row.uncertain == ()
    assert {"Edema", "Effusion"} & {*row.findings} == found


def test_mimics_whole_numbers_are_read_by_dicom_id_and_subject():
    """Joined with the metadata, the `dicom_id` names the image."""
    file = read("mimic")
    first, second = file.rows
    assert (first.image_name, first.patient_id, first.view, first.findings) == ("0a1b-2c3d", "10000032", "PA", NORMAL)
    assert (second.findings, second.uncertain) == (("Edema", "Effusion"), ("Atelectasis",))
    assert file.unread == ("study_id",)


def test_a_path_goes_before_a_dicom_id(write):
    """Files with both were read by their path before `dicom_id` was known."""
    (row,) = read_labels_csv(write("path,dicom_id,Edema", "p10/a.jpg,a,1")).rows
    assert row.image_name == "p10/a.jpg"


def test_padchests_lists_in_brackets_are_read_and_their_own_words_counted():
    """A scan of ignored words alone is labelled, and not normal; an empty cell is unlabelled."""
    assert "row 5: 'Labels' has 'scoliosis', which is not a known finding" in refusal(LAYOUTS / "padchest.csv")
    file = read("padchest", ignore_unknown=True)
    assert labels(file) == [
        (("Cardiomegaly", "Effusion"), (), ()),
        (NORMAL, (), ()),
        (("Infiltration",), (), ()),
        ((), (), NORMAL),
        ((), (), ()),
    ]
    assert file.ignored == {"scoliosis": 2}
    assert file.covered == ("Cardiomegaly", "Effusion", "Infiltration")
    assert file.reading == {"layout": "bracketed list", "ignored": "scoliosis"}
    assert (file.rows[0].patient_id, file.rows[0].sex, file.rows[0].view) == ("839860", "F", "PA")


def test_vindrs_rows_become_one_scan_and_one_reader_who_finds_something_counts():
    """Rows of an image are not together; `No finding` stays only if every row says it."""
    file = read("vindr", ignore_unknown=True)
    assert [row.image_name[:4] for row in file.rows] == ["50a4", "9a50", "0511"]
    assert labels(file) == [(NORMAL, (), ()), (("Cardiomegaly", "Effusion"), (), ()), ((), (), NORMAL)]
    assert (file.line_count, file.covered) == (8, ("Cardiomegaly", "Effusion"))
    assert file.ignored == {"Aortic enlargement": 1}


def test_rsnas_boxes_say_lung_opacity_by_their_target():
    """The film is named by `patientId`; two boxes are one scan."""
    file = read("rsna_boxes")
    assert labels(file) == [((), (), NORMAL), (("Lung Opacity",), (), ())]
    assert [row.image_name == row.patient_id for row in file.rows] == [True, True]
    assert file.covered == ("Lung Opacity",)
    assert file.columns == {"patientId": "image names, patient ids", "Target": "Lung Opacity"}


def test_rsnas_classes_tell_normal_from_not_normal():
    """`No Lung Opacity / Not Normal` is neither a finding nor `No Finding`."""
    assert labels(read("rsna_classes")) == [((), (), NORMAL), (NORMAL, (), ()), (("Lung Opacity",), (), ())]


def test_adjudicated_columns_are_read_where_the_layout_is_named():
    """NIH's own labels stand beside them, and are read as ever without the flag; `Nodule or mass` is neither."""
    by_nih, by_readers = read("adjudicated"), read("adjudicated", layout="columns")
    assert [row.findings for row in by_nih.rows] == [NORMAL, ("Cardiomegaly", "Emphysema")]
    assert by_nih.covered == NIH_FINDINGS
    assert [row.findings for row in by_readers.rows] == [("Lung Opacity",), ("Pneumothorax",)]
    assert by_readers.covered == ("Pneumothorax", "Fracture", "Lung Opacity")
    assert "Nodule or mass" in by_readers.unread
    assert by_nih.sha256 != by_readers.sha256


@pytest.mark.parametrize(
    ("columns", "tail"),
    [
        (Columns(), ""),
        (
            Columns(image="Image Index", labels="Finding Labels"),
            " Columns(image='Image Index', labels='Finding Labels', patient=None)",
        ),
    ],
)
@pytest.mark.parametrize("flags", [{}, {"uncertain": "positive", "blank": "ignore", "ignore_unknown": True}])
def test_a_list_that_was_read_before_keeps_its_hash(columns, tail, flags):
    """Ledgers know their files by it; flags that change no label of the file do not change it either."""
    stored = hashlib.sha256((LAYOUTS / "adjudicated.csv").read_bytes()).hexdigest()
    expected = hashlib.sha256(f"{stored}{tail}".encode()).hexdigest() if tail else stored
    file = read("adjudicated", columns=columns, mapped=(("rib fx", "Fracture"),), **flags)
    assert (file.sha256, file.reading) == (expected, {"layout": "list"})


def test_a_file_read_otherwise_is_another_label_set():
    """What -1 and blanks mean, a mapped term, and who the patients are, each give another hash."""
    readings = [
        {},
        {"uncertain": "positive"},
        {"blank": "ignore"},
        {"mapped": (("fracture", ""),)},
        {"patient_pattern": r"patient(\d+)"},
        {"columns": Columns(patient="Sex")},
    ]
    assert len({read("chexpert", **reading).sha256 for reading in readings}) == len(readings)
    assert read("chexpert").sha256 == read("chexpert", ignore_unknown=True, mapped=(("unused", "Mass"),)).sha256


def test_an_unknown_words_refusal_lists_the_nearest_findings_and_both_remedies(write):
    """A person must not have to know the vocabulary by heart."""
    sentence = refusal(write("Image Index,Finding Labels", "a.png,Efusion"))
    assert sentence.startswith("row 2: 'Finding Labels' has 'Efusion', which is not a known finding (nearest: Effusion")
    assert "--map 'TERM=FINDING'" in sentence
    assert "--ignore-unknown" in sentence


def test_a_misspelt_column_of_a_finding_is_refused_and_any_other_column_is_not(write):
    """Dropping `Cardiomegly` in silence would make every scan unlabelled for it."""
    path = write("path,Edema,Cardiomegly,Abnormal,Hospital", "a.png,1,1,1,x")
    sentence = refusal(path)
    assert "row 1: column 'Cardiomegly' is not a known finding (nearest: Cardiomegaly" in sentence
    file = read_labels_csv(path, Reading(ignore_unknown=True))
    assert (file.ignored, file.unread) == ({"Cardiomegly": 1}, ("Abnormal", "Hospital"))
    mapped = read_labels_csv(path, Reading(mapped=(("cardiomegly", "Cardiomegaly"),)))
    assert mapped.rows[0].findings == ("Cardiomegaly", "Edema")
    assert mapped.reading["map"] == "cardiomegly=Cardiomegaly"


def test_a_mapped_term_goes_before_the_vocabulary_and_may_mean_nothing(write):
    """A hospital's `Infiltration` may be another word for an opacity; a term that means no finding is not ignored."""
    path = write("Image Index,Finding Labels", "a.png,Infiltration|Scoliosis", "b.png,SCOLIOSIS")
    file = read_labels_csv(path, Reading(mapped=(("infiltration", "Lung Opacity"), ("scoliosis", ""))))
    assert labels(file) == [(("Lung Opacity",), (), ()), ((), (), NORMAL)]
    assert (file.ignored, file.reading["map"]) == ({}, "infiltration=Lung Opacity|scoliosis=")
    assert file.covered == (*NIH_FINDINGS, "Lung Opacity")


def test_of_two_columns_of_one_finding_any_that_says_yes_counts(write):
    """A hospital's two kinds of fracture are one finding here."""
    path = write("path,Rib,Clavicle", "a.png,1,0", "b.png,0,-1", "c.png,0,0", "d.png,,0")
    file = read_labels_csv(path, Reading(mapped=(("rib", "Fracture"), ("clavicle", "Fracture")), blank="ignore"))
    negative = ((), (), ("Fracture",))
    assert labels(file) == [(("Fracture",), (), ()), ((), ("Fracture",), ()), negative, negative]


@pytest.mark.parametrize("cell", ["2", "maybe", "0.3", "1,0", "-"])
def test_a_cell_that_is_no_label_is_refused_with_its_row_and_column(write, cell):
    """Scores and other codes are not labels."""
    sentence = refusal(write("path;Edema;Mass", f"a.png;1;{cell}"))
    assert sentence.startswith(f"row 2: 'Mass' has {cell!r} instead of 1, 0, -1, YES, NO or nothing")


@pytest.mark.parametrize("cells", ["1,0,-1,", "1.0,0.0,-1.0,nan", "YES,no,-1, ", "True,False,-1.00,"])
def test_each_spelling_of_a_value_is_read(write, cells):
    """pandas writes 1.0 and nan beside gaps."""
    path = write("path,Edema,Mass,Nodule,Hernia", f"a.png,{cells}")
    assert labels(read_labels_csv(path, Reading(blank="ignore"))) == [(("Edema",), ("Nodule",), ("Mass",))]


def test_no_finding_beside_a_disease_is_refused_in_columns_too(write):
    """A scan cannot be both, unless the other one is a device."""
    assert "row 2: has 'No Finding' beside another" in refusal(write("path,No Finding,Edema", "a.png,1,1"))


def test_a_row_per_finding_of_a_hospital_needs_the_layout(write):
    """Two differing rows of one image are a mistake elsewhere, and the message says what to add."""
    path = write("image_id,finding,x_min", "a.png,Mass,1", "a.png,Edema,2")
    assert "differs from its earlier row 2; if each row names one finding or box, add --layout rows" in refusal(path)
    file = read_labels_csv(path, Reading(layout="rows"))
    assert (labels(file), file.covered) == ([(("Edema", "Mass"), (), ())], ("Edema", "Mass"))


def test_rows_of_one_image_that_name_two_patients_are_refused(write):
    """Findings are joined, and nothing else is."""
    path = write("image_id,class_name,patient_id", "a.png,Mass,1", "a.png,Edema,2")
    assert "row 3: 'a.png' differs from its earlier row 2" in refusal(path)


def test_an_unlabelled_csv_needs_a_named_image_column(write):
    """As ever: without one, a file without labels is a mistake."""
    path = write("File,MRN", "a.png,1")
    assert "no column of findings" in refusal(path)
    file = read_labels_csv(path, Reading(columns=Columns(image="File")))
    assert (file.reading, file.rows[0].is_labelled) == ({"layout": "unlabelled"}, False)


def test_patients_come_from_the_image_name_by_a_pattern():
    """The group is a patient id like a column's; it goes before a column."""
    rows = read("chexpert", patient_pattern=r"patient(\d+)").rows
    assert [row.patient_id for row in rows] == ["1", "2", "2", "3", "4"]
    assert read("adjudicated", patient_pattern=r"_(\d+)").rows[0].patient_id == "8"


def test_a_pattern_that_finds_no_patient_is_refused_with_the_row_and_without_the_name():
    """The nightly producer logs this sentence, and the name may be a patient's."""
    sentence = refusal(LAYOUTS / "chexpert.csv", patient_pattern=r"patient(\d+)/study1")
    assert sentence == r"row 3: --patient-pattern 'patient(\\d+)/study1' finds no patient in its image name"


def test_columns_that_are_only_like_findings_leave_a_csv_unlabelled(write):
    """A file of scores was read for its image names, and has no labels to misspell."""
    path = write("Image Index,prob_Mass,prob_Pleural_Thickening", "a.png,0.3,0.4")
    (row,) = read_labels_csv(path, Reading(columns=Columns(image="Image Index"))).rows
    assert not row.is_labelled


def test_a_row_that_ends_early_has_blanks(write):
    """Spreadsheets leave off empty cells, also where a single column is a finding's."""
    path = write("path,Edema,Mass", "a.png,1", "b.png", "c.png,1,1")
    assert [row.findings for row in read_labels_csv(path).rows] == [("Edema",), (), ("Edema", "Mass")]
    assert [row.findings for row in read_labels_csv(write("Edema,path", "1,a.png")).rows] == [("Edema",)]
