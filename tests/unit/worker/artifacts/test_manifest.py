"""A manifest is understood whole or refused in one sentence with the value found and what is known."""

import json

import pytest

from db.errors import UserError
from db.findings import FINDINGS
from worker.artifacts.manifest import MANIFEST_FILE, Manifest, read_manifest
from worker.images.preprocessing import Preprocessing

#: A field that is not among these would be refused by workers of version 0.1, which score during an upgrade.
FIELDS_OF_VERSION_0_1 = {
    *("format_version", "name", "encoder", "findings", "preprocessing", "batch_size", "dataset", "thresholds"),
    *("temperatures", "files", "about"),
}

#: Of the preprocessing; manifests of format 1 have none of them.
NEW_FIELDS = {"rendering": "display", "bits": 12, "crop": "center", "range": [0, 1]}


def fields(**changes):
    return {"name": "n", "findings": list(FINDINGS), "dataset": "sample_labels", **changes}


def refusal(folder):
    with pytest.raises(UserError) as caught:
        read_manifest(folder)
    sentence = str(caught.value)
    assert sentence.startswith(f"{folder / MANIFEST_FILE}: ")
    assert "\n" not in sentence
    return sentence


@pytest.fixture
def write(tmp_path):
    def write(content):
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        (tmp_path / MANIFEST_FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def test_a_manifest_survives_its_file(write):
    """What a trainer wrote is what a worker reads."""
    manifest = Manifest(
        name="n",
        findings=("Effusion", "Abnormal"),
        dataset="d",
        preprocessing=Preprocessing(height=64, width=32, color="bgr", interpolation="linear"),
        batch_size=4,
        files={"model.keras": "0" * 64},
        about={"seed": 1, "auroc": 0.5, "trainer": "x"},
    )
    assert read_manifest(write(manifest.model_dump_json())) == manifest
    assert manifest.preprocessing.shape == (64, 32, 3)
    assert Preprocessing(height=64, width=32).shape == (64, 32, 1)


def test_a_manifest_that_does_not_say_so_is_of_no_synthetic_model(write):
    """One that says so keeps it in its bytes, which are the model's identity, and has no field that is new."""
    assert not read_manifest(write(fields())).synthetic
    synthetic = Manifest(**fields(about={"synthetic": 1}))
    assert set(synthetic.model_dump()) == FIELDS_OF_VERSION_0_1
    assert read_manifest(write(synthetic.model_dump_json())).synthetic


def test_a_manifest_of_format_1_is_written_as_before(write):
    """Its bytes are a model's identity, and its fields those that workers of version 0.1 know."""
    content = (
        b'{"format_version":1,"name":"n","encoder":"densenet121","findings":["Effusion"],"preprocessing":{"height":224,'
        b'"width":224,"color":"gray","interpolation":"area"},"batch_size":32,"dataset":"d","thresholds":{},'
        b'"temperatures":{},"files":{},"about":{}}'
    )
    manifest = read_manifest(write(content))
    assert manifest.model_dump_json().encode() == content
    assert (manifest.preprocessing.rule, manifest.preprocessing.range, manifest.views) == (1, (0, 255), ())


def test_a_manifest_of_format_2_survives_its_file(write):
    """With all that decides pixels and scores in it."""
    rule = Preprocessing(rule=2, rendering="equalized", bits=12, crop="center", range=(-1024, 1024))
    manifest = Manifest(**fields(format_version=2, preprocessing=rule, views=("AP", "PA")))
    assert read_manifest(write(manifest.model_dump_json())) == manifest
    assert set(manifest.model_dump()) == FIELDS_OF_VERSION_0_1 | {"views"}
    assert {"rule", "rendering", "bits", "crop", "range"} < set(manifest.model_dump()["preprocessing"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *(({"preprocessing": {name: value}}, f"{name} is a field of rule 2") for name, value in NEW_FIELDS.items()),
        *(({"preprocessing": {"rule": 2, name: value}}, "rule 1, and it is 2") for name, value in NEW_FIELDS.items()),
        ({"views": []}, "views is a field of format_version 2"),
        ({"format_version": 2}, "rule 2, and it is 1"),
        ({"format_version": 2, "preprocessing": {"rule": 1}}, "rule 2, and it is 1"),
        ({"format_version": 2, "preprocessing": {"rule": 3}}, "Input should be 1 or 2"),
        ({"format_version": 2, "preprocessing": {"rule": 2, "bits": 17}}, "less than or equal to 16"),
        ({"format_version": 2, "preprocessing": {"rule": 2, "range": [1, 1]}}, "every image would be the same"),
        ({"format_version": 2, "preprocessing": {"rule": 2, "range": [0, "inf"]}}, "should be a finite number"),
    ],
    ids=str,
)
def test_a_field_of_the_other_format_is_refused(write, changes, says):
    """A worker would otherwise make pixels that the trainer did not mean."""
    sentence = refusal(write(fields(**changes)))
    assert says in sentence
    assert sentence.endswith("publish the model again or remove its folder")


def test_another_format_version_is_refused_with_all_numbers(write):
    """A newer trainer's artifact is not guessed at."""
    sentence = refusal(write(fields(format_version=3, unheard_of=1, preprocessing={"shear": 1})))
    assert "format_version is 3: Input should be 1 or 2; another version of nightread wrote it" in sentence


def test_an_unknown_finding_is_refused_beside_the_known_ones(write):
    """A column of SQL that does not exist must not be found out while scoring."""
    sentence = refusal(write(fields(findings=["Effusion", "Covid"])))
    assert "['Effusion', 'Covid']" in sentence
    assert "Pneumothorax" in sentence


@pytest.mark.parametrize("findings", [[], ["Effusion", "Effusion"]])
def test_findings_are_some_and_each_once(write, findings):
    """Two columns of one name would overwrite each other."""
    assert "findings" in refusal(write(fields(findings=findings)))


@pytest.mark.parametrize("changes", [{"precision": "int8"}, {"preprocessing": {"crop": 3}}], ids=str)
def test_an_unknown_field_is_refused_by_name(write, changes):
    """It may change what the scores mean."""
    sentence = refusal(write(fields(**changes)))
    assert ("precision is 'int8'" in sentence) or ("preprocessing.crop is 3" in sentence)


@pytest.mark.parametrize("color", ["rgb", "GRAY", None])
def test_an_unknown_colour_is_refused_beside_the_known_ones(write, color):
    """Pixels made by another rule give confident wrong scores."""
    sentence = refusal(write(fields(preprocessing={"color": color})))
    assert f"preprocessing.color is {color!r}" in sentence
    assert "'gray' or 'bgr'" in sentence


@pytest.mark.parametrize("threshold", [-0.1, 1.5, "NaN"])
def test_a_threshold_lies_between_0_and_1(write, threshold):
    """Beyond them a report would count predictions that no score makes; of one that is no number, it could not."""
    assert "thresholds.Effusion.youden" in refusal(write(fields(thresholds={"Effusion": {"youden": threshold}})))


@pytest.mark.parametrize("missing", ["name", "findings", "dataset"])
def test_a_missing_field_is_named(write, missing):
    """Nothing that matters has a silent default."""
    rest = {name: value for name, value in fields().items() if name != missing}
    assert f"{missing} is" in refusal(write(rest))


@pytest.mark.parametrize("content", ["", "not json", "[]", b"\xff\xfe\x00", '{"name": "n"'])
def test_what_is_no_json_object_is_refused(write, content):
    """Empty, cut off, binary."""
    refusal(write(content))


def test_no_manifest_at_all_is_said(tmp_path):
    """A folder without a manifest is not an artifact."""
    assert "the manifest cannot be read (No such file" in refusal(tmp_path)


def test_a_long_wrong_value_is_cut(write):
    """One sentence stays one sentence."""
    assert len(refusal(write(fields(batch_size="9" * 5000)))) < 600


def test_an_unknown_field_of_any_name_is_one_line(write):
    """Found by fuzzing: a field name could contain a code that clears the terminal."""
    sentence = refusal(write(fields(**{"\x1b[2J\n": 1})))
    assert "Extra inputs" in sentence
    assert sentence.isprintable()
