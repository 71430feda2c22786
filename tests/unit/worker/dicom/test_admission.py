"""What a header says against scoring its film."""

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from db.errors import PermanentError
from db.ledger.outcomes import REASONS
from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.admission import REFUSED, SENTENCES, admission_codes, check_admission, refused_codes
from worker.dicom.dataset import parse_dicom
from worker.settings import ADMISSION_CODES

FRONTAL = ("PA", "AP")


def codes(rendering="display", **header):
    """The codes of a plain chest film with these elements, read from a file as a worker reads it."""
    return admission_codes(parse_dicom(dicom_file(np.zeros((4, 4), np.uint16), **header)), rendering)


def region(meaning, value="0"):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return [item]


def item(**elements):
    found = Dataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "PresentationIntentType": "FOR PRESENTATION"},
        {"BodyPartExamined": None},
        {"BurnedInAnnotation": "NO"},
        {"ViewPosition": "AP"},
        {"WindowCenter": 2000, "WindowWidth": 1},
        {"WindowCenter": 2000, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 2000},
    ],
)
def test_nothing_speaks_against_a_chest_film(header):
    """Neither an absent element nor one that says what it should."""
    assert codes(**header) == ()


@pytest.mark.parametrize(
    ("sop_class", "intent", "code"),
    [
        (uid.DigitalXRayImageStorageForProcessing, None, "for_processing"),
        (uid.DigitalXRayImageStorageForPresentation, "FOR PROCESSING", "for_processing"),
        (uid.ComputedRadiographyImageStorage, "For Processing", "for_processing"),
        (uid.SecondaryCaptureImageStorage, None, "secondary_capture"),
        (uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage, None, "secondary_capture"),
        (uid.CTImageStorage, None, "sop_class"),
        (uid.DigitalMammographyXRayImageStorageForPresentation, None, "sop_class"),
        (uid.DigitalIntraOralXRayImageStorageForPresentation, None, "sop_class"),
        ("1.2.840.10008.5.1.4.1.1.77.1.4", None, "sop_class"),
        (None, None, None),
    ],
)
def test_only_computed_radiography_and_digital_x_ray_for_presentation_are_taken(sop_class, intent, code):
    """Each other class has one code. A header without a class has that of its file's beginning."""
    assert codes(SOPClassUID=sop_class, PresentationIntentType=intent) == ((code,) if code else ())


def test_raw_data_of_another_class_is_refused_for_both():
    """The setting `for_processing` alone does not let a mammogram through."""
    mammogram = {"SOPClassUID": uid.DigitalMammographyXRayImageStorageForProcessing}
    assert codes(**mammogram, PresentationIntentType="FOR PROCESSING") == ("sop_class", "for_processing")


def test_a_file_that_names_no_class_at_all_is_no_radiograph():
    """Neither in its header nor at its beginning."""
    assert "sop_class" in admission_codes(Dataset(), "display")


@pytest.mark.parametrize(
    ("said", "is_chest"),
    [
        *[(said, True) for said in ("CHEST", "chest", "Chest PA", "CHEST_AP", "THORAX", "Thorax", "TORAX", "Tórax")],
        *[(said, True) for said in ("AP CHEST", "CHEST_TO_ABDOMEN", "CHESTABDOMEN", "LUNG", "LUNGS", "RIB", "RIBS")],
        *[(said, True) for said in ("", " ", "UNKNOWN", "Other", "NOT SPECIFIED", "N/A", "---")],
        *[(said, False) for said in ("HIP", "EXTREMITY", "ABDOMEN", "HAND", "TSPINE", "THORACIC SPINE", "SKULL")],
        *[(said, False) for said in ("ARIBS", "BREAST", "PELVIS", "NONSENSE")],
    ],
)
def test_a_body_part_is_the_chest_in_all_words_that_vendors_write(said, is_chest):
    """A header that says nothing is no reason; whatever else it says is."""
    assert codes(BodyPartExamined=said) == (() if is_chest else ("body_part",))


@pytest.mark.parametrize(
    ("said", "meaning", "expected"),
    [
        (None, "Chest", ()),
        (None, "Thoracic structure", ()),
        (None, "Thoracic spine", ("body_part",)),
        ("", "Hand", ("body_part",)),
        ("CHEST", "Trunk", ()),
        ("HAND", "Chest", ()),
    ],
)
def test_the_anatomic_region_speaks_too(said, meaning, expected):
    """One of the two places is enough for the chest."""
    assert codes(BodyPartExamined=said, AnatomicRegionSequence=region(meaning)) == expected


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "Lat"])
def test_a_lateral_view_is_told(view):
    """Whichever model reads the film."""
    assert codes(ViewPosition=view) == ("view",)


@pytest.mark.parametrize("view", [None, "", "XX"])
def test_a_film_that_does_not_say_its_view_has_a_note_that_never_refuses_it(view):
    """It is not taken for PA."""
    assert codes(ViewPosition=view) == ("view_unknown",)
    check_admission(codes(ViewPosition=view), refused_codes(frozenset(), FRONTAL))


@pytest.mark.parametrize("said", ["YES", "yes"])
def test_burned_in_annotation_is_told(said):
    """The pixels may hold text."""
    assert codes(BurnedInAnnotation=said) == ("burned_in",)


def test_a_window_of_no_width_is_told_where_it_would_be_used():
    """It is not where a VOI LUT takes its place, nor in a rendering without window."""
    empty = {"WindowCenter": 2000, "WindowWidth": 0}
    assert codes(**empty) == ("window",)
    assert codes(WindowCenter=2000, WindowWidth=-100, VOILUTFunction="SIGMOID") == ("window",)
    assert codes("full_range", **empty) == codes("equalized", **empty) == ()
    table = item(LUTDescriptor=[2, 0, 16], LUTData=b"\0\0\xff\xff")
    assert codes(**empty, VOILUTSequence=[table]) == ()


def test_all_that_speaks_against_a_film_is_told():
    """A worker that admits one of them still has the others."""
    header = {"SOPClassUID": uid.SecondaryCaptureImageStorage, "BodyPartExamined": "HAND", "ViewPosition": "LL"}
    assert codes(**header, BurnedInAnnotation="YES", WindowCenter=1, WindowWidth=0) == (
        *("secondary_capture", "body_part", "view", "burned_in", "window"),
    )


def test_damaged_elements_say_nothing():
    """A header of nonsense raises nothing."""
    dataset = Dataset()
    dataset.SOPClassUID = uid.ComputedRadiographyImageStorage
    for keyword in ("BodyPartExamined", "ViewPosition", "BurnedInAnnotation", "PresentationIntentType"):
        dataset.add_new(keyword, "US", 7)
    dataset.add_new("AnatomicRegionSequence", "US", 7)
    dataset.add_new("WindowWidth", "LO", "wide")
    dataset.add_new("WindowCenter", "LO", "middle")
    assert admission_codes(dataset, "display") == ("view_unknown",)


@pytest.mark.parametrize(
    ("views", "refuses"),
    [
        ((), False),
        (("PA", "AP"), True),
        (("PA",), True),
        (("FRONTAL",), True),
        (("LATERAL", "PA"), False),
    ],
)
def test_a_lateral_view_is_refused_only_for_a_model_known_to_be_fitted_on_frontal_ones(views, refuses):
    """Of a model whose views are unknown nobody knows that it never saw one."""
    assert ("view" in refused_codes(frozenset(), views)) == refuses


def test_what_the_settings_admit_is_not_refused():
    """The rest is, each with a sentence that names its cause and its remedy."""
    refused = refused_codes(frozenset({"view", "body_part"}), FRONTAL)
    assert refused == SENTENCES.keys() - {"view", "body_part"}
    check_admission(("body_part", "view", "view_unknown"), refused)
    with pytest.raises(PermanentError, match=r"Secondary Capture.*--admit secondary_capture.*CXR_ADMIT") as caught:
        check_admission(("body_part", "secondary_capture"), refused)
    assert caught.value.reason == "secondary_capture"


def test_each_code_is_a_reason_and_may_be_admitted():
    """Neither the ledger nor the settings may import this."""
    assert set(SENTENCES) == set(ADMISSION_CODES)
    assert set(SENTENCES) < set(REASONS)
    assert SENTENCES.keys() - REFUSED == {"view"}
