"""The public weights that `trainer import` reads, and how to get them. Importing this module loads no model."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_COLUMNS: Final = 100
_INDENT: Final = "  "
#: The order of NIH's findings in CheXNet and its reimplementations.
_CHEXNET_OUTPUTS: Final = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
#: Source: mlmed/torchxrayvision, `default_pathologies` in torchxrayvision/datasets.py.
_TXV_OUTPUTS: Final = (
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
)
#: CheXpert's findings among them, which MIMIC-CXR's labels have too.
_CHEXPERT_OUTPUTS: Final = frozenset(
    {
        "Atelectasis",
        "Consolidation",
        "Pneumothorax",
        "Edema",
        "Effusion",
        "Pneumonia",
        "Cardiomegaly",
        "Lung Lesion",
        "Fracture",
        "Lung Opacity",
        "Enlarged Cardiomediastinum",
    }
)
_CHEXPERT_ONLY: Final = frozenset({"Lung Lesion", "Lung Opacity", "Enlarged Cardiomediastinum"})


@dataclass(frozen=True, kw_only=True)
class PublicWeights:
    """Weights that somebody published, with what the publisher says of them.

    Attributes:
        name: of the model, in the commands.
        fitted_on: the scans, as the publisher names them.
        megabytes: of the file that `trainer import` reads; None if it was not verified.
        description: fields of `trainer.importing.description.Description`, but no thresholds.
        figures: published accuracy that is not one AUROC for each finding.
        commands: what brings the weights here, in this order.
    """

    name: str
    fitted_on: str
    megabytes: float | None
    description: Mapping[str, Any]
    figures: str = ""
    commands: tuple[str, ...]


def _torchxrayvision(name: str, fitted_on: str, outputs: frozenset[str], **figures: Any) -> PublicWeights:
    """One of torchxrayvision's, which has eighteen outputs; those that its scans have no labels of have no name."""
    description = {
        "outputs": tuple(output if output in outputs else "" for output in _TXV_OUTPUTS),
        "size": 224,
        "channels": 1,
        "crop": "center",
        "range": (-1024, 1024),
        "views": ("PA", "AP"),
        "licence": "Apache-2.0",
        "source": "https://github.com/mlmed/torchxrayvision",
        "citation": "Cohen et al., TorchXRayVision: A library of chest X-ray datasets and models,"
        " Medical Imaging with Deep Learning 2022, arXiv:2111.00595",
        **figures,
    }
    return PublicWeights(
        name=name,
        fitted_on=fitted_on,
        megabytes=28.3,
        description=description,
        commands=(
            f"uv run docs/weights/from_torchxrayvision.py {name}",
            f"trainer import {name}.safetensors --name {name}",
        ),
    )


#: Sources: `model_urls` in models.py of torchxrayvision 1.5.7, its README.md and BENCHMARKS.md (27 June 2021, with
#: figures of one DenseNet); README.md of jrzech/reproduce-chexnet and of brucechou1983/CheXNet-Keras.
_LISTED: Final = (
    _torchxrayvision(
        "densenet121-res224-all",
        "NIH ChestX-ray14, PadChest, CheXpert, MIMIC-CXR, Google's NIH labels, Open-i, RSNA",
        frozenset(_TXV_OUTPUTS),
        published_auroc={
            "Atelectasis": 0.77,
            "Cardiomegaly": 0.93,
            "Consolidation": 0.88,
            "Edema": 0.97,
            "Effusion": 0.95,
            "Emphysema": 0.87,
            "Fibrosis": 0.94,
            "Fracture": 0.70,
            "Hernia": 0.96,
            "Infiltration": 0.85,
            "Mass": 0.85,
            "Nodule": 0.69,
            "Pleural_Thickening": 0.79,
            "Pneumonia": 0.82,
            "Pneumothorax": 0.81,
        },
        published_auroc_of="a part of PadChest, views PA and AP; it was fitted on another part, or on some of the same"
        " scans",
    ),
    _torchxrayvision("densenet121-res224-nih", "NIH ChestX-ray14", frozenset(_CHEXNET_OUTPUTS)),
    _torchxrayvision("densenet121-res224-pc", "PadChest", frozenset(_TXV_OUTPUTS) - _CHEXPERT_ONLY),
    _torchxrayvision("densenet121-res224-chex", "CheXpert", _CHEXPERT_OUTPUTS),
    _torchxrayvision("densenet121-res224-rsna", "RSNA Pneumonia Challenge", frozenset({"Pneumonia", "Lung Opacity"})),
    _torchxrayvision("densenet121-res224-mimic_nb", "MIMIC-CXR, labelled by NegBio", _CHEXPERT_OUTPUTS),
    _torchxrayvision("densenet121-res224-mimic_ch", "MIMIC-CXR, labelled by CheXpert's labeler", _CHEXPERT_OUTPUTS),
    PublicWeights(
        name="reproduce-chexnet",
        fitted_on="NIH ChestX-ray14",
        megabytes=28.3,
        description={
            "outputs": _CHEXNET_OUTPUTS,
            "size": 224,
            "channels": 3,
            "crop": "center",
            "scaling": "imagenet",
            "views": ("PA", "AP"),
            "licence": "BSD-3-Clause",
            "source": "https://github.com/jrzech/reproduce-chexnet, pretrained/checkpoint",
            "citation": "Zech, J., reproduce-chexnet, 2018, https://github.com/jrzech/reproduce-chexnet",
            "published_auroc": {
                "Atelectasis": 0.8180,
                "Cardiomegaly": 0.9090,
                "Effusion": 0.8827,
                "Infiltration": 0.7156,
                "Mass": 0.8377,
                "Nodule": 0.7756,
                "Pneumonia": 0.7617,
                "Pneumothorax": 0.8776,
                "Consolidation": 0.8002,
                "Edema": 0.8945,
                "Emphysema": 0.9316,
                "Fibrosis": 0.8251,
                "Pleural_Thickening": 0.7889,
                "Hernia": 0.9175,
            },
            "published_auroc_of": "22,433 scans of NIH ChestX-ray14 that the publisher set apart as its test fold",
        },
        commands=(
            "git clone https://github.com/jrzech/reproduce-chexnet",
            (
                "uv run docs/weights/from_checkpoint.py reproduce-chexnet/pretrained/checkpoint --trust"
                " --out reproduce-chexnet.safetensors"
            ),
            "trainer import reproduce-chexnet.safetensors --name reproduce-chexnet --description reproduce-chexnet",
        ),
    ),
    PublicWeights(
        name="chexnet-keras",
        fitted_on="NIH ChestX-ray14",
        megabytes=None,
        description={
            "outputs": _CHEXNET_OUTPUTS,
            "size": 224,
            "channels": 3,
            "scaling": "imagenet",
            "views": ("PA", "AP"),
            "licence": "MIT",
            "source": "https://github.com/brucechou1983/CheXNet-Keras, which links the file in its README",
            "citation": "Bruce Chou, ChexNet-Keras, https://github.com/brucechou1983/CheXNet-Keras",
        },
        figures="mean of 14 findings 0.829, of scans that the publisher set apart for testing",
        commands=(
            (
                "trainer import brucechou1983_CheXNet_Keras_0.3.0_weights.h5 --name chexnet-keras"
                " --description chexnet-keras"
            ),
        ),
    ),
)
#: By name.
PUBLIC_WEIGHTS: Final = {weights.name: weights for weights in _LISTED}


def print_public_weights() -> None:
    """Print the public weights, in at most 100 columns."""
    print("Public weights that trainer import reads. Check each licence, and whether it allows what you plan.")
    for weights in _LISTED:
        print()
        print("\n".join(_lines(weights)))


def _lines(weights: PublicWeights) -> Iterator[str]:
    described = weights.description
    findings = [name for name in described["outputs"] if name]
    size = f", {weights.megabytes:g} MB as .safetensors" if weights.megabytes else ""
    yield weights.name
    yield from _wrap(f"licence {described['licence']}{size}; fitted on {weights.fitted_on}")
    yield from _wrap(f"{len(findings)} findings: {', '.join(findings)}")
    yield from _wrap(f"published AUROC: {_auroc(weights)}")
    yield from _wrap(f"source: {described['source']}")
    for command in weights.commands:
        yield from _wrap_command(command)


def _auroc(weights: PublicWeights) -> str:
    figures = weights.description.get("published_auroc", {})
    if not figures:
        return weights.figures or "none in the publisher's repository"
    each = ", ".join(f"{finding} {auroc:g}" for finding, auroc in figures.items())
    return f"{each}; of {weights.description['published_auroc_of']}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS, initial_indent=_INDENT, subsequent_indent=2 * _INDENT, break_on_hyphens=False)


def _wrap_command(command: str) -> list[str]:
    """The command as a shell takes it, over as many lines as it needs, each flag beside its value."""
    first, *flags = command.split(" --")
    lines = [2 * _INDENT + first]
    for flag in flags:
        if len(f"{lines[-1]} --{flag} \\") <= _COLUMNS:
            lines[-1] += f" --{flag}"
        else:
            lines.append(f"{3 * _INDENT}--{flag}")
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
