"""Builds the comparison of two runs from SQL. It holds no patient id and no image name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from db.evaluation.comparison import FindingComparison
from db.evaluation.run_pair import RunPair

#: The version of compare.json: another one has other keys, or keys of another meaning.
FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the two runs."""

    run_id: int
    dataset: str
    model: str
    model_sha256: str
    #: That judges its scores, and the first digits of its file's sha256: `NAME@HASH`; None without labels.
    label_set: str | None
    #: Scored scans by runtime and numeric precision, such as "openvino bfloat16".
    runtimes: Mapping[str, int]
    #: Scored scans of the run.
    scored: int
    #: The name of the threshold by finding, such as `youden`, or `given`.
    chosen_by: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """All that a comparison shows. Its fields are keys of compare.json."""

    format: int = FORMAT
    first: ComparedRun
    second: ComparedRun
    #: `held_out` leaves out scans and patients that either model was fitted or tuned on; `all` includes them.
    subset: str
    #: Scans that both runs scored.
    common: int
    #: Of these, those that either model has seen.
    seen: int
    #: The scans that the comparison is of.
    used: int
    #: Patients of these, and whether intervals are clustered by them: see `describe_clusters`.
    patients: int
    clusters: str
    #: What to say if held out cannot be told for one of the models; None if it can.
    held_out_note: str | None
    #: The finding that text and page show first.
    finding: str
    #: Findings that only one of the models scores.
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    #: By finding that both models score.
    findings: Mapping[str, FindingComparison]


def build_comparison(
    connection: Connection,
    first_run: int,
    second_run: int,
    *,
    label_set: str | None,
    subset: str,
    threshold: str | None,
    finding: str | None,
) -> tuple[RunComparison, RunPair]:
    """Build the comparison of two runs."""
    raise NotImplementedError
