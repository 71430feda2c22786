"""`trainer fit`: from a labels CSV to a published artifact."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db.labels_csv import LabelRow, read_labels_csv
from trainer.dataset import Examples, label_matrix, learnable_findings, load_examples
from trainer.progress import native_stderr_muted, say, stage
from trainer.publish import refuse_taken_name, write_artifact
from trainer.split import split_by_patient
from worker.artifact import Artifact, SplitRow
from worker.images import find_images
from worker.manifest import Manifest, Preprocessing

if TYPE_CHECKING:
    from trainer.loop import Epoch, Subset


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a person can choose about a fit."""

    csv: Path
    #: A folder or `s3://bucket/prefix`; None looks beside the CSV.
    images: str | None = None
    name: str
    encoder: str = "densenet121"
    size: int = 64
    epochs: int = 12
    batch_size: int = 16
    learning_rate: float = 1e-3
    validation_share: float = 0.15
    test_share: float = 0.25
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit came to."""

    artifact: Artifact
    #: Of `Abnormal` in the best epoch; None where the validation subset has one class only.
    validation_auroc: float | None


def fit(options: FitOptions, *, model_dir: Path) -> Fitted:
    """Fit a model on the CSV's patients and publish it.

    Raises:
        UserError: the name is taken, the CSV is wrong, images are missing, or patients are too few.
    """
    refuse_taken_name(options.name, model_dir)
    labels = read_labels_csv(options.csv)
    rule = Preprocessing(height=options.size, width=options.size)
    examples = _load(options, labels.rows, rule)
    split = split_by_patient(
        examples.rows,
        validation_share=options.validation_share,
        test_share=options.test_share,
        seed=options.seed,
    )
    findings = learnable_findings(_rows_of("train", examples, split))
    model, epochs = _train(options, rule, findings, examples, split)
    best = max((epoch.validation_auroc for epoch in epochs if epoch.validation_auroc is not None), default=None)
    manifest = Manifest(
        name=options.name,
        encoder=options.encoder,
        findings=findings,
        preprocessing=rule,
        dataset=labels.dataset,
        about=_about(options, model, split, best) | {"csv_sha256": labels.sha256},
    )
    history = [asdict(epoch) for epoch in epochs]
    artifact = write_artifact(model, manifest, split=split, model_dir=model_dir, history=history)
    return Fitted(artifact=artifact, validation_auroc=best)


def _load(options: FitOptions, rows: Sequence[LabelRow], rule: Preprocessing) -> Examples:
    found = find_images(options.csv, options.images, {row.image_name for row in rows}).images
    with stage("reading scans", total=sum(bool(row.findings) for row in rows)) as advance:
        examples = load_examples(rows, found, rule, advance=advance)
    for reason, count in examples.left_out.items():
        say(f"left out: {count} scans, {reason}")
    return examples


def _train(
    options: FitOptions, rule: Preprocessing, findings: Sequence[str], examples: Examples, split: Sequence[SplitRow]
) -> tuple[Any, list["Epoch"]]:
    with native_stderr_muted():
        from trainer.loop import LoopOptions, train
        from trainer.model import build_model

    model = build_model(preprocessing=rule, findings=findings, encoder=options.encoder, seed=options.seed)
    fitted, validation = (_subset(wanted, findings, examples, split) for wanted in ("train", "validation"))
    loop = LoopOptions(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    say(f"fitting {options.encoder} on {len(fitted.pixels)} scans, {len(validation.pixels)} for validation")
    with stage("epochs", total=options.epochs) as advance:
        epochs = train(model, fitted, validation, loop, on_epoch=lambda epoch: _tell(epoch, advance))
    return model, epochs


def _tell(epoch: "Epoch", advance: Callable[[int], None]) -> None:
    advance(1)
    say(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, validation AUROC {in_words(epoch.validation_auroc)}")


def in_words(figure: float | None) -> str:
    """Three decimals, or what it is when it is not a number."""
    return "undefined" if figure is None else f"{figure:.3f}"


def _rows_of(subset: str, examples: Examples, split: Sequence[SplitRow]) -> list[LabelRow]:
    return [row for row, used in zip(examples.rows, split, strict=True) if used.subset == subset]


def _subset(wanted: str, findings: Sequence[str], examples: Examples, split: Sequence[SplitRow]) -> "Subset":
    from trainer.loop import Subset

    chosen = np.array([used.subset == wanted for used in split])
    labels = label_matrix(_rows_of(wanted, examples, split), findings)
    return Subset(pixels=examples.pixels[chosen], labels=labels)


def _about(
    options: FitOptions, model: Any, split: Sequence[SplitRow], best: float | None
) -> dict[str, str | int | float]:
    import keras

    counts = Counter(used.subset for used in split)
    figures = {} if best is None else {"validation_auroc": round(best, 4)}
    return {
        "seed": options.seed,
        "epochs": options.epochs,
        "batch_size_fit": options.batch_size,
        "learning_rate": options.learning_rate,
        "weights_from": "random initialisation",
        "parameters": int(model.count_params()),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        **{f"scans_{subset}": counts[subset] for subset in ("train", "validation", "test")},
        **figures,
    }
