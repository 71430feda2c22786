"""A description states all that the weights do not, or one sentence says what is wrong with it."""

import json
from pathlib import Path

import pytest

from db.errors import UserError
from trainer.importing.description import Description, read_description

SOUND = {"outputs": ["Mass", "", "Lung Lesion"], "channels": 1}


def refusal(tmp_path, content, **flags):
    path = tmp_path / "net.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(UserError) as refused:
        read_description(path, flags)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{path}: ")


def test_what_is_not_stated_has_a_default(tmp_path):
    """Only outputs and channels must be stated."""
    path = tmp_path / "net.json"
    path.write_text(json.dumps(SOUND))
    described = read_description(path, {"size": None})
    assert described == Description(outputs=("Mass", "", "Lung Lesion"), channels=1)
    assert described.findings == ("Mass", "Lung Lesion")
    assert (described.size, described.range, described.scaling) == (224, (0, 255), "range")


def test_flags_replace_what_the_json_states(tmp_path):
    """Every field that a flag states, also where the JSON's value was wrong."""
    path = tmp_path / "net.json"
    path.write_text(json.dumps(SOUND | {"size": 5, "views": ["PA"]}))
    described = read_description(path, {"size": 320, "outputs": ["", "Mass", "Edema"], "range": (-1024.0, 1024.0)})
    assert (described.size, described.outputs) == (320, ("", "Mass", "Edema"))
    assert (described.range, described.views) == ((-1024, 1024), ("PA",))


def test_flags_alone_are_enough():
    """A file of weights needs no JSON beside it."""
    assert read_description(None, {"outputs": ["Mass"], "channels": 3}).channels == 3


def test_a_name_from_the_list_is_a_description(tmp_path, monkeypatch):
    """Also where a folder has that name, as after `git clone`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reproduce-chexnet").mkdir()
    described = read_description(Path("reproduce-chexnet"), {"licence": "MIT"})
    assert (described.crop, described.scaling, described.licence) == ("center", "imagenet", "MIT")
    assert described.published_auroc["Hernia"] == 0.9175


def test_what_no_flag_states_is_named():
    """The sentence says how to state it."""
    with pytest.raises(
        UserError, match=r"^the flags \(no \.json .* beside the weights, .*\): channels is not stated; add it, or give"
    ):
        read_description(None, {"outputs": ["Mass"], "channels": None})


def test_a_byte_order_mark_is_no_error(tmp_path):
    """Editors on Windows write one."""
    path = tmp_path / "net.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(SOUND).encode())
    assert read_description(path, {}).channels == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"outputs": [',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff",
        json.dumps(SOUND).encode("utf-16"),
        b'{"source": "\\ud800"}',
        b'{"size": ' + b"9" * 6000 + b"}",
    ],
    ids=["empty", "cut", "deep", "deep objects", "latin-1", "utf-16", "half a character", "endless number"],
)
def test_bad_json_is_refused(tmp_path, content):
    """With the place of the mistake."""
    assert refusal(tmp_path, content).startswith("is not valid JSON (")


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"text"'])
def test_json_that_is_no_object_is_refused(tmp_path, content):
    """The sentence shows one."""
    assert 'is not a JSON object, such as {"outputs": [...], "channels": 1}; correct it' in refusal(tmp_path, content)


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    """At most a megabyte of it is."""
    path = tmp_path / "net.json"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(UserError, match="is longer than 1 MB, so it is no description"):
        read_description(path, {})


def test_a_description_that_cannot_be_read_is_refused(tmp_path):
    """A missing file, and a folder."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError, match="the description of the weights cannot be read"):
            read_description(path, {})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"foo\x1b": 1}, r"foo\x1b is no field of a description; choose from outputs, size, channels"),
        ({"size": "big"}, "size is 'big': Input should be a valid integer"),
        ({"size": 31}, "size is 31: Input should be greater than or equal to 32; correct it"),
        ({"size": 4096}, "size is 4096: "),
        ({"channels": 2}, "channels is 2: Input should be 1 or 3; correct it"),
        ({"outputs": "Mass"}, "outputs is 'Mass': "),
        ({"outputs": ["Mass", "Edema", "Mass"]}, "outputs has 'Mass' twice; write \"\" for"),
        ({"outputs": ["Mass", "Lung Thing"]}, "outputs has 'Lung Thing', which is no finding here; write \"\" for"),
        ({"outputs": ["No Finding"]}, "outputs has 'No Finding', which is no finding here"),
        ({"outputs": ["", ""]}, "outputs names no finding"),
        ({"outputs": []}, "outputs names no finding"),
        ({"crop": "middle"}, "crop is 'middle': "),
        ({"bits": 7}, "bits is 7: "),
        ({"range": [1, 1]}, "range is 1 for black and for white, so every image would be the same; give two"),
        ({"range": [0]}, "range.1 is [0]: Field required"),
        ({"range": [0, 1, 2]}, "range is [0, 1, 2]: "),
        ({"range": [0, float("inf")]}, "range.1 is inf: "),
        ({"range": [-1e300, 1e300]}, "range.0 is -1e+300: "),
        ({"range": [float("nan"), 1]}, "range.0 is nan: "),
        ({"scaling": "imagenet"}, "scaling is imagenet, which needs three channels, and channels is 1; correct"),
        (
            {"scaling": "imagenet", "channels": 3, "range": [0, 1]},
            "scaling is imagenet, which decides what black and white are, and range is 0 to 1; leave out one",
        ),
        ({"thresholds": {"Mass": 1.1}}, "thresholds.Mass is 1.1: "),
        ({"thresholds": {"Mass": -0.1}}, "thresholds.Mass is -0.1: "),
        ({"thresholds": {"Mass": float("nan")}}, "thresholds.Mass is nan: "),
        ({"thresholds": {"Mass": None}}, "thresholds.Mass is None: "),
        ({"thresholds": {"Edema": 0.5}}, "thresholds has 'Edema', which is not among outputs; leave it out"),
        ({"thresholds": {"": 0.5}}, "thresholds has '', which is not among outputs"),
        ({"published_auroc": {"Mass": 70}}, "published_auroc.Mass is 70: "),
        ({"published_auroc": {"Edema": 0.7}}, "published_auroc has 'Edema', which is not among outputs"),
        ({"views": ["PA", "upside down"]}, "views.1 is 'upside down': it names no view; choose from PA, AP"),
        ({"licence": "a\0b"}, r"licence is 'a\x00b': it holds the character '\x00', which cannot be shown; correct"),
        ({"source": "x" * 5000}, "source is 'xxx"),
        ({"citation": 7}, "citation is 7: "),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_refused(tmp_path, fields, sentence):
    """The sentence names field, value and remedy."""
    refused = refusal(tmp_path, SOUND | fields)
    assert refused.startswith(sentence)
    assert len(refused) < 700


def test_a_wrong_flag_is_named_as_such(tmp_path):
    """The JSON is not to be corrected then."""
    assert refusal(tmp_path, SOUND, size=5).startswith("size is 5 (by --size): ")


def test_views_have_one_name():
    """As the headers of DICOM films have, so that laterals are known."""
    assert Description(**SOUND, views=("pa", "ap supine", "Lateral")).views == ("PA", "AP", "LATERAL")


def test_text_may_have_lines():
    """BibTeX does."""
    assert Description(**SOUND, citation=" @article{a,\n\ttitle}\n").citation == "@article{a,\n\ttitle}"
