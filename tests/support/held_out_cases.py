"""The rule of `db.metrics.held_out`, case by case: for runs in SQL and for the trainer's scans in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

Expected = Literal["itself", "patient", "held out"]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A scan of the model's split."""

    image: str
    patient: str | None = None
    subset: str = "train"
    #: None means the model's own dataset, `nih`.
    dataset: str | None = None
    #: A letter that stands for the bytes.
    content: str | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A scan of which the rule is asked."""

    image: str
    expected: Expected
    patient: str | None = None
    content: str | None = None


@dataclass(frozen=True, kw_only=True)
class HeldOutCase:
    """Scans of one dataset, and the split of a model."""

    name: str
    scans: Sequence[Asked]
    fitted: Sequence[Fitted]
    dataset: str = "renamed"


def hash_of(letter: str | None) -> str | None:
    """The content that a case's letter stands for."""
    return letter and f"sha256:{letter * 64}"


_ONE = Fitted(image="a.png", patient="1", content="a")
_UNKNOWN = Fitted(image="a.png", content="a")
_DEEP = Fitted(image="2024-01/a.png", patient="1")


def _case(name: str, scans: Asked | Sequence[Asked], *fitted: Fitted, dataset: str = "renamed") -> HeldOutCase:
    return HeldOutCase(name=name, scans=[scans] if isinstance(scans, Asked) else scans, fitted=fitted, dataset=dataset)


CASES = (
    # By name.
    _case("the same name and patient", Asked(image="a.png", patient="1", expected="itself"), _ONE),
    _case("the patient is unknown here", Asked(image="a.png", expected="itself"), _ONE),
    _case("the patient is unknown to the model", Asked(image="a.png", patient="1", expected="itself"), _UNKNOWN),
    _case("another patient of the same name", Asked(image="a.png", patient="2", expected="held out"), _ONE),
    _case("tuned on it", Asked(image="a.png", expected="itself"), Fitted(image="a.png", subset="validation")),
    _case("only tested on it", Asked(image="a.png", expected="held out"), Fitted(image="a.png", subset="test")),
    # By base name.
    _case("a path to a name", Asked(image="2024-01/a.png", patient="1", expected="itself"), _ONE),
    _case("a name of a path", Asked(image="a.png", patient="1", expected="itself"), _DEEP),
    _case("another path, same patient", Asked(image="x/2024/a.png", patient="1", expected="itself"), _DEEP),
    _case("another path, another patient", Asked(image="x/2024/a.png", patient="2", expected="held out"), _DEEP),
    _case("a path to a name, patient unknown here", Asked(image="2024-01/a.png", expected="itself"), _ONE),
    _case("a path to a name, patient unknown there", Asked(image="y/a.png", patient="1", expected="itself"), _UNKNOWN),
    _case("a name of a path, patient unknown here", Asked(image="a.png", expected="itself"), _DEEP),
    _case("two paths, patient unknown here", Asked(image="x/2024/a.png", expected="held out"), _DEEP),
    _case("the end of a name is no base name", Asked(image="ba.png", patient="1", expected="held out"), _ONE),
    _case(
        "two paths, patient unknown there",
        Asked(image="p2/a.png", patient="1", expected="held out"),
        Fitted(image="p1/a.png"),
    ),
    _case("a folder of the same name", Asked(image="a/b/a/b/c", patient="1", expected="held out"), _ONE),
    # By patient within a dataset.
    _case("the same patient, same dataset", Asked(image="b.png", patient="1", expected="patient"), _ONE, dataset="nih"),
    _case("the same number, other dataset", Asked(image="b.png", patient="1", expected="held out"), _ONE),
    _case("no patient is no patient", Asked(image="b.png", expected="held out"), _UNKNOWN, dataset="nih"),
    _case(
        "a row's own dataset has its patients",
        Asked(image="b.png", patient="1", expected="patient"),
        Fitted(image="a.png", patient="1", dataset="donor"),
        dataset="donor",
    ),
    _case(
        "strangers with the donor's numbers",
        Asked(image="b.png", patient="1", expected="held out"),
        Fitted(image="a.png", patient="1", dataset="donor"),
        dataset="nih",
    ),
    # By content.
    _case("a renamed film", Asked(image="z.png", patient="77", content="a", expected="itself"), _ONE),
    _case("a film without a patient", Asked(image="z.png", content="a", expected="itself"), _ONE),
    _case("other bytes, other name", Asked(image="z.png", patient="77", content="b", expected="held out"), _ONE),
    _case("no content is no content", Asked(image="z.png", patient="77", expected="held out"), _DEEP),
    _case("the same name, other bytes", Asked(image="a.png", patient="1", content="b", expected="itself"), _ONE),
    # Through the scan to its patient.
    _case(
        "a name leads to the patient",
        [
            Asked(image="a.png", patient="1", expected="itself"),
            Asked(image="b.png", patient="1", expected="patient"),
            Asked(image="c.png", patient="2", expected="held out"),
        ],
        _ONE,
    ),
    _case(
        "a base name leads to the patient",
        [
            Asked(image="x/a.png", patient="1", expected="itself"),
            Asked(image="x/b.png", patient="1", expected="patient"),
            Asked(image="x/c.png", patient="2", expected="held out"),
        ],
        _ONE,
    ),
    _case(
        "a content leads to the patient",
        [
            Asked(image="y.png", patient="77", content="a", expected="itself"),
            Asked(image="z.png", patient="77", content="b", expected="patient"),
            Asked(image="w.png", patient="78", content="c", expected="held out"),
        ],
        _ONE,
    ),
    _case(
        "a scan without a patient leads nowhere",
        [Asked(image="a.png", expected="itself"), Asked(image="b.png", expected="held out")],
        _ONE,
    ),
)

each_held_out_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
