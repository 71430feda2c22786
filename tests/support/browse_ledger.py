"""A small ledger whose films exist and whose scores are those of a real network that has activation maps."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db.close_run import close_finished_runs
from db.engine.session import open_database
from db.errors import PermanentError
from db.findings import ABNORMAL, NO_FINDING
from db.labels.csv_file import LabelRow, LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.models import find_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Rejected, Scored, pending_of_run, record_outcomes
from db.ledger.scans import FoundImage, register_scans
from tests.support.encoded_images import encode
from tests.support.world import radiograph
from trainer.phantoms.dicom_file import dicom_file
from worker.artifacts.manifest import Manifest
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.registration import register_artifacts
from worker.artifacts.split_file import SplitRow
from worker.images.preprocessing import Preprocessing
from worker.scoring.decoder import Decoder
from worker.settings import WorkerSettings
from worker.storage.image_store import read_image
from worker.telemetry.counters import Stopwatch

#: The first run has some of the scans and no labels, the second all of them with labels.
FIRST, SECOND = 1, 2
FINDINGS = (ABNORMAL, "Effusion")
THRESHOLDS = {ABNORMAL: 0.5125, "Effusion": 0.4}
SCANS, OF_FIRST, FITTED = 60, 20, 8
#: The side of the model's input, and that of a cell of its maps, in pixels.
SIDE, CELL = 32, 8
#: Rows and columns of every film but one. That one has a gray level left and another one right of its middle.
SHAPE, FLAT_SHAPE = (150, 200), (180, 180)
LEFT, RIGHT = 100, 160
#: Markup that runs a script, quotes, a name that does not end, and text from right to left.
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "'\"`${alert(1)}{{7*7}}&lt;b&gt;<!--",
    "long" * 60,
    "\u202eשלום\u2066 gnp.exe",
)
#: Numbers of scans, from 0.
FLAT, CHANGED, MISSING, DELETED, LATERAL = 4, 5, 6, 7, 8
#: The age of the first scan's patient; each of the others is a year older than the one before.
YOUNGEST = 20
#: Those of one patient.
OF_PATIENT = (9, 10, 11, 12)


@dataclass(frozen=True, kw_only=True)
class BrowseLedger:
    home: Path
    url: str
    #: By number, from 0.
    scan_ids: tuple


def make_browse_ledger(folder):
    """Write the films, the model and the ledger."""
    home, films = folder / "home", folder / "films"
    films.mkdir()
    url = f"sqlite:///{folder / 'nightread.sqlite'}"
    found = {name_of(number): FoundImage(location=str(_write(films, number))) for number in range(SCANS)}
    del found[name_of(MISSING)]
    artifact = _write_model(home, [Path(image.location) for image in found.values()])
    score = _scorer(artifact)
    engine = open_database(url)
    register_artifacts(engine, FolderModelStore(home / "models"))
    rows = tuple(map(_row, range(SCANS)))
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        ids = register_scans(connection, HOSTILE[0], rows, found)
        scans = tuple(ids[row.image_name] for row in rows)
        _open(connection, scans[:OF_FIRST], label_set_id=None)
        _score(connection, FIRST, score)
        file = LabelsFile(path=folder / "labels.csv", sha256="a" * 64, dataset=HOSTILE[0], rows=rows)
        _open(connection, scans, label_set_id=import_labels(connection, file, rows, ids, HOSTILE[1]))
        _score(connection, SECOND, score)
    close_finished_runs(engine)
    engine.dispose()
    Path(found[name_of(CHANGED)].location).write_bytes(encode(radiograph(777)))
    Path(found[name_of(DELETED)].location).unlink()
    return BrowseLedger(home=home, url=url, scan_ids=scans)


def name_of(number):
    """The image's name."""
    return f"{HOSTILE[number] if number < len(HOSTILE) else 'film'}_{number:03d}.png"


def film(number):
    """uint8: the film as it is stored."""
    if number == FLAT:
        return np.repeat(np.array([[LEFT, RIGHT]], np.uint8), FLAT_SHAPE[1] // 2, axis=1).repeat(FLAT_SHAPE[0], axis=0)
    return radiograph(number, side=SHAPE[1])[: SHAPE[0]]


def _write(films, number):
    path = films / f"{number}.png"
    path.write_bytes(dicom_file(film(number), ViewPosition="LL") if number == LATERAL else encode(film(number)))
    return path


def _row(number):
    """Some scans are not labelled, and of the hostile ones the view is too."""
    patient = OF_PATIENT[0] if number in OF_PATIENT else number
    return LabelRow(
        image_name=name_of(number),
        findings=(("Effusion",), (NO_FINDING,), ("Mass",), ())[number % 4],
        patient_id=f"{HOSTILE[number] if number < len(HOSTILE) else 'P'}{patient}",
        view=HOSTILE[number][:90] if number < len(HOSTILE) else ("PA", "AP")[number % 2],
        sex="FM"[patient % 2],
        age_years=YOUNGEST + number,
        follow_up=number - patient,
    )


def _write_model(home, paths):
    """Publish a network of one convolution whose scores lie on both sides of one half."""
    from trainer.publishing.publish import write_artifact
    from worker.artifacts.keras_import import keras

    keras.utils.set_random_seed(7)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, CELL, strides=CELL, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(FINDINGS), activation="sigmoid"),
        ]
    )
    manifest = Manifest(
        format_version=2,
        name="small",
        findings=FINDINGS,
        preprocessing=Preprocessing(rule=2, height=SIDE, width=SIDE, crop="center"),
        dataset=HOSTILE[0],
        thresholds={finding: {"best_f1": threshold} for finding, threshold in THRESHOLDS.items()},
        views=("PA", "AP"),
    )
    _spread(model, _pixels(manifest, paths))
    split = [
        SplitRow(image_name=name_of(number), patient_id=_row(number).patient_id, subset="train")
        for number in range(FITTED)
    ]
    return write_artifact(model, manifest, split=split, models=FolderModelStore(home / "models"))


def _pixels(manifest, paths):
    """(N, side, side, 1): the model's input of each film that it takes."""
    decode, pixels = _decoder(manifest), []
    for path in paths:
        try:
            pixels.append(decode(read_image(str(path))).pixels)
        except PermanentError:
            continue
    return np.stack(pixels)


def _spread(model, pixels):
    """Draw the last layer's weights, and choose them so that the logits have median 0 and standard deviation 1.5."""
    dense = model.layers[-1]
    kernel = np.random.default_rng(3).normal(size=dense.get_weights()[0].shape)
    dense.set_weights([kernel, np.zeros(len(FINDINGS))])
    scores = model.predict(pixels, verbose=0).astype(np.float64)
    logits = np.log(scores / (1 - scores))
    kernel *= 1.5 / logits.std(axis=0)
    dense.set_weights([kernel, -np.median(logits, axis=0) * 1.5 / logits.std(axis=0)])


def _decoder(manifest):
    return Decoder(manifest.preprocessing, WorkerSettings(), Stopwatch(), manifest.views)


def _open(connection, scans, *, label_set_id):
    request = RunRequest(
        source="films.csv",
        sha256="b" * 64,
        dataset=HOSTILE[0],
        model_id=find_model(connection, None).id,
        label_set_id=label_set_id,
        options={},
    )
    return open_run(connection, request, scans)


def _score(connection, run, score):
    record_outcomes(connection, [score(scan) for scan in pending_of_run(connection, run)])


def _scorer(artifact):
    """Gives the outcome that a worker would: the scores of its scorer, or its reason to reject the film."""
    from worker.scoring.runtimes.keras import KerasScorer

    decode, scorer = _decoder(artifact.manifest), KerasScorer(artifact, "float32")

    def score(scan):
        image = read_image(scan.location)
        try:
            pixels = decode(image).pixels
        except PermanentError as error:
            return Rejected(outcome_id=scan.outcome_id, reason=error.reason, detail=str(error), content=image.content)
        scores = dict(zip(scorer.findings, scorer.score(pixels[np.newaxis])[0].tolist(), strict=True))
        how = {"content": image.content, "runtime": scorer.runtime, "precision": scorer.precision}
        return Scored(outcome_id=scan.outcome_id, scores=scores, **how)

    return score
