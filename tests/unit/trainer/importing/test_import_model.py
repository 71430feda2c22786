"""A file of weights becomes an artifact that workers score with, completely or not at all."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from db.errors import UserError
from tests.support.imports import ROOT, loaded
from tests.support.torch_reference import TORCHVISION, TORCHXRAYVISION, images, recorded_logits
from tests.support.weight_files import tensors_of, write_description, write_weights
from trainer.cli import app
from trainer.importing import import_model as module
from trainer.importing.description import Description, read_description
from trainer.importing.fitted_scans import read_fitted_scans
from trainer.importing.import_model import import_model
from trainer.importing.network import compute_logits
from worker.artifacts.artifact import file_sha256
from worker.artifacts.exports import read_exports
from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import load_keras_model
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.split_file import read_split
from worker.images.preprocessing import Preprocessing

STATED = {
    "licence": "Apache-2.0",
    "citation": "Cohen et al. 2022",
    "source": "https://example.org",
    "published_auroc": {"Mass": 0.81, "Lung Lesion": 0.7},
    "published_auroc_of": "its own test scans",
    "thresholds": {"Mass": 0.25},
    "views": ("PA", "AP"),
    "crop": "center",
    "outputs": (*TORCHXRAYVISION.outputs[:14], "Lung Lesion", "", "", ""),
}
#: What stands in the manifest only if it is stated.
TEXTS = ("licence", "citation", "source", "published_auroc_of")


@pytest.fixture(autouse=True)
def few_phantoms(monkeypatch):
    """Drawing 32 takes seconds."""
    monkeypatch.setattr(module, "_PHANTOMS", 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights in torchxrayvision's layout, with its description."""
    path = write_weights(tmp_path_factory.mktemp("weights"), tensors_of())
    write_description(path)
    return path


def imported(path, folder, description=None, *, fitted=()):
    described = description or Description(**TORCHXRAYVISION.description)
    return import_model("txv", path, described, fitted, models=FolderModelStore(folder), export=False)


@pytest.mark.parametrize("layout", [TORCHVISION, TORCHXRAYVISION], ids=lambda layout: layout.name)
def test_a_worker_computes_what_pytorch_does(tmp_path, layout):
    """By the artifact on disk, from uint8 pixels: logits within 1e-5. Outputs without a name are left out."""
    path, description = write_weights(tmp_path, tensors_of(layout)), Description(**layout.description)
    result = imported(path, tmp_path / "models", description)
    named = [number for number, finding in enumerate(layout.outputs) if finding]
    assert result.artifact.manifest.findings == tuple(layout.outputs[number] for number in named)
    assert (result.outputs, result.left_out) == (len(layout.outputs), len(layout.outputs) - len(named))
    model, expected = load_keras_model(result.artifact), recorded_logits(layout)[:, named]
    logits = compute_logits(model.get_layer("nightread"), images()[..., None], description)
    assert np.abs(logits - expected).max() < 1e-5
    scores = keras.ops.convert_to_numpy(model(images()[..., None], training=False))
    assert np.abs(scores - 1 / (1 + np.exp(-expected))).max() < 1e-5
    assert result.artifact.manifest.about.keys().isdisjoint(TEXTS)


def test_the_manifest_holds_what_the_publisher_says(weights, tmp_path):
    """And that nobody knows which scans the network was fitted on."""
    result = imported(weights, tmp_path, Description(**TORCHXRAYVISION.description | STATED))
    manifest = result.artifact.manifest
    assert (manifest.format_version, manifest.name, manifest.encoder) == (2, "txv", "densenet37")
    assert manifest.dataset == "unknown"
    assert manifest.preprocessing == Preprocessing(rule=2, height=64, width=64, crop="center", range=(-1024, 1024))
    assert manifest.thresholds == {"Mass": {"published": 0.25}}
    assert manifest.views == ("AP", "PA")
    about = manifest.about
    assert {key: about[key] for key in ("imported", "scaling")} == {"imported": 1, "scaling": "range"}
    assert {key: about[key] for key in TEXTS} == {key: STATED[key] for key in TEXTS}
    assert (about["published_auroc_mass"], about["published_auroc_lung_lesion"]) == (0.81, 0.7)
    assert about["weights_sha256"] == file_sha256(weights)
    assert manifest.fitted_scans_unknown
    assert set(manifest.files) == {"model.keras", "split.csv"}
    assert list(read_split(result.artifact.folder)) == []
    assert "Apache-2.0" in (result.artifact.folder / "MODEL_CARD.md").read_text()


def test_scans_of_the_fitted_csv_count_as_fitted_on(weights, tmp_path):
    """The split lists them, and nothing is unknown."""
    csv = tmp_path / "nih.csv"
    csv.write_text("Image Index,Finding Labels,Patient ID\n1_0.png,Mass,1\n1_1.png,No Finding,1\n2_0.png,,2\n")
    fitted = read_fitted_scans(csv)
    artifact = imported(weights, tmp_path / "models", fitted=fitted).artifact
    assert tuple(read_split(artifact.folder)) == fitted
    assert [(row.image_name, row.patient_id, row.subset, row.dataset) for row in fitted] == [
        ("1_0.png", "1", "train", "nih"),
        ("1_1.png", "1", "train", "nih"),
        ("2_0.png", "2", "train", "nih"),
    ]
    assert not artifact.manifest.fitted_scans_unknown
    assert (artifact.manifest.dataset, artifact.manifest.about["scans_train"]) == ("nih", 3)
    with pytest.raises(UserError, match="--name 'txv' already belongs to artifact"):
        imported(weights, tmp_path / "models")


def test_the_same_import_changes_nothing(weights, tmp_path):
    """It only makes what is missing beside the artifact."""
    first = imported(weights, tmp_path)
    (first.artifact.folder / "MODEL_CARD.md").unlink()
    second = imported(weights, tmp_path)
    assert (first.was_there, second.was_there) == (False, True)
    assert second.artifact == first.artifact
    assert len(list(tmp_path.iterdir())) == 1
    assert (first.artifact.folder / "MODEL_CARD.md").exists()


def test_the_name_of_another_artifact_is_refused(weights, tmp_path):
    """Of the same file with another description, and of another file with the same."""
    sha256 = imported(weights, tmp_path / "models").artifact.sha256
    other = write_weights(tmp_path, tensors_of() | {"classifier.bias": np.zeros(18, np.float32)})
    for path, fields in ((weights, {"crop": "center"}), (weights, {"licence": "MIT"}), (other, {})):
        with pytest.raises(
            UserError, match=f"--name 'txv' already belongs to artifact {sha256[:12]} .* choose another"
        ):
            imported(path, tmp_path / "models", Description(**TORCHXRAYVISION.description | fields))


@pytest.mark.parametrize("name", ["", " ", "a\nb"])
def test_a_name_that_nobody_can_ask_for_is_refused(weights, tmp_path, name):
    """Before anything is read."""
    description = Description(**TORCHXRAYVISION.description)
    with pytest.raises(UserError, match=r"--name .* is empty, or cannot be printed; choose another"):
        import_model(name, weights, description, (), models=FolderModelStore(tmp_path / "models"), export=False)


def test_a_network_without_finite_scores_is_not_published(tmp_path):
    """Finite weights can overflow."""
    tensors = tensors_of() | {"classifier.weight": np.full((18, 248), 3e38, np.float32)}
    path = write_weights(tmp_path, tensors)
    with pytest.raises(UserError, match=r"computes infinite scores .*; check range and scaling, or choose other"):
        imported(path, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_file_of_another_kind_is_refused(tmp_path):
    """By its name, if it is no pickle."""
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x07\x12\x07")
    with pytest.raises(UserError, match=r"choose one that ends with \.safetensors, \.h5 or \.keras"):
        imported(path, tmp_path / "models")


def run(tmp_path, monkeypatch, *arguments):
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


@pytest.mark.parametrize(("file", "cause"), [("net.pt", "is a pickle"), ("none.safetensors", "cannot be read")])
def test_a_wrong_file_is_named_before_a_missing_description(tmp_path, monkeypatch, file, cause):
    """The sentence on a checkpoint of PyTorch's says that it is a pickle, not that a JSON is missing."""
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04 data.pkl")
    result = run(tmp_path, monkeypatch, tmp_path / file, "--name", "a")
    assert isinstance(result.exception, UserError)
    assert cause in str(result.exception)


def test_help_shows_what_holds_without_a_flag(tmp_path, monkeypatch):
    """Brackets are markup to the program that prints help."""
    monkeypatch.setenv("COLUMNS", "200")
    assert "[default: 224]" in run(tmp_path, monkeypatch, "--help").output


def test_the_command_says_what_it_read_and_what_comes_next(weights, tmp_path, monkeypatch):
    """The JSON beside the weights is found, and flags replace what it states."""
    flags = ("--range", "-512", "512", "--licence", "MIT", "--crop", "center", "--views", "pa, AP")
    outputs = ("--outputs", "Mass,, Lung Lesion" + 15 * ",")
    done = run(tmp_path, monkeypatch, weights, "--name", "my model", *flags, *outputs, "--no-export")
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "home" / "models").iterdir()
    manifest = FolderModelStore(folder.parent).find(file_sha256(folder / "manifest.json")).manifest
    assert (manifest.preprocessing.range, manifest.preprocessing.crop) == ((-512, 512), "center")
    assert manifest.views == ("AP", "PA")
    for line in (
        "read densenet37 with 18 outputs: Mass, Lung Lesion; left out 16 that have no name here\n",
        'fitted on scans that nobody knows, so reports say "held out: unknown"; --fitted-csv may name them\n',
        "licence: MIT\n",
        f"published model my model as artifact {folder.name}\nfolder {folder}\n",
        "next: producer run --csv LABELS.csv --model 'my model', or --images FOLDER where there are no labels\n",
    ):
        assert line in done.output


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--outputs", "Mass,Mass"], "outputs has 'Mass' twice"),
        (["--size", "7"], r"size is 7 \(by --size\)"),
        (["--description", "none.json"], "none.json: the description of the weights cannot be read"),
        (["--fitted-csv", "none.csv"], "none.csv"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_command_refuses_before_it_reads_the_weights(weights, tmp_path, monkeypatch, flags, sentence):
    """In one sentence, without Keras."""
    done = run(tmp_path, monkeypatch, weights, "--name", "a", *flags)
    with pytest.raises(UserError, match=sentence):
        raise done.exception


def test_a_wrong_file_is_refused_before_a_missing_description(tmp_path, monkeypatch):
    """Nobody need describe a file that is not there, or one that is never read."""
    (tmp_path / "net.pth").write_bytes(b"\x80\x04any")
    for name, sentence in (("none.h5", r"none\.h5: cannot be read"), ("net.pth", r"net\.pth: is a pickle")):
        done = run(tmp_path, monkeypatch, tmp_path / name, "--name", "a")
        with pytest.raises(UserError, match=sentence):
            raise done.exception


@pytest.mark.slow
def test_the_same_command_makes_the_export_that_is_missing(weights, tmp_path):
    """Workers on CPUs score faster with it."""
    bare = imported(weights, tmp_path)
    described = Description(**TORCHXRAYVISION.description)
    whole = import_model("txv", weights, described, (), models=FolderModelStore(tmp_path), export=True)
    assert whole.artifact == bare.artifact
    assert whole.missing == ()
    assert read_exports(whole.artifact).formats["openvino"].scans == 2


def test_help_imports_neither_keras_nor_readers(tmp_path):
    """They take seconds."""
    modules, shown = loaded(tmp_path, "-m", "trainer.cli", "import", "--help")
    assert "--fitted-csv" in shown
    assert modules.isdisjoint({"keras", "tensorflow", "safetensors", "h5py", "numpy"})


# By hand: about once in fifteen times a library swallows the signal, and a person has to press again.
@pytest.mark.variant
def test_ctrl_c_stops_the_command(weights, tmp_path):
    """With exit code 4 and one sentence; nothing is published."""
    command = [sys.executable, "-m", "trainer.cli", "import", weights, "--name", "a"]
    home = tmp_path / "home"
    with subprocess.Popen(
        command, cwd=ROOT, env={"CXR_HOME": str(home), "PATH": ""}, stderr=subprocess.PIPE, text=True
    ) as process:
        lines = [process.stderr.readline()]
        while lines[-1] and "drawn radiographs" not in lines[-1]:
            lines.append(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert (process.returncode, rest) == (4, "stopped: nothing was published\n"), lines
    assert not (home / "models").exists()


def test_every_field_that_a_person_states_has_a_flag():
    """Figures alone stand only in the JSON."""
    (command,) = (command for command in app.registered_commands if command.name == "import")
    flags = set(command.callback.__annotations__)
    assert Description.model_fields.keys() - flags == {"thresholds", "published_auroc", "published_auroc_of"}


def test_the_description_beside_the_weights_is_the_conversions(weights):
    """Its name is that of the weights."""
    assert read_description(weights.with_suffix(".json"), {}) == Description(**TORCHXRAYVISION.description)
