"""The order of a worklist, and the places in it."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from db.ledger.run_columns import LabelCodes, RunFacts, ScanStates, TextColumn
from producer.browse.worklist.query import parse_query
from producer.browse.worklist.run_table import RunTable
from producer.browse.worklist.selection import Neighbours, choices, neighbours, select_scans

NAN = float("nan")
SCORES = [0.5, NAN, 0.9, 0.5, 0.1, NAN]
IDS = [3, 4, 7, 8, 20, 21]


def text_column(*values):
    kinds = tuple(dict.fromkeys(values))
    return TextColumn(codes=np.array([kinds.index(value) for value in values], np.int32), values=kinds)


@dataclass
class Columns:
    """Columns in memory; it counts how often each is read."""

    reads: list

    def scores(self, finding):
        self.reads.append(finding)
        return np.array(SCORES)

    def labels(self):
        self.reads.append("labels")
        return LabelCodes(codes=np.zeros(len(IDS), np.int64), covered=frozenset())


def make_table():
    states = ScanStates(
        scan_ids=np.array(IDS),
        states=text_column(*("rejected" if np.isnan(score) else "scored" for score in SCORES)),
        reasons=text_column(None, "missing", None, None, None, "dicom"),
        reused=np.array([True, False, False, True, False, False]),
        held_out=np.array([1, 1, 0, -1, 1, 1], np.int8),
        views=text_column("PA", None, "PA", "unknown", "AP", "PA"),
        sexes=text_column(*"FFMMFF"),
        ages=np.array([1.0, 2.0, 3.0, 4.0, 5.0, NAN]),
    )
    facts = RunFacts(findings=("Mass",), label_set_id=1, finished=True)
    columns = Columns(reads=[])
    return RunTable(facts, states, columns, read_at=datetime.now(UTC)), columns.reads


def select(table, reviews=None, **params):
    query = parse_query(params, findings=("Mass",), default_finding="Mass", default_threshold={"Mass": 0.5})
    return select_scans(table, query, reviews or {}).tolist()


def test_scans_without_a_score_are_last_in_either_order_and_ties_are_by_id():
    table, _ = make_table()
    assert select(table) == [7, 3, 8, 20, 4, 21]
    assert select(table, sort="ascending") == [20, 3, 8, 7, 4, 21]
    assert select(table, sort="scan") == IDS


def test_a_scan_without_a_score_is_in_no_range_of_scores_but_is_found_by_its_state():
    table, _ = make_table()
    assert select(table, low="0") == [7, 3, 8, 20]
    assert select(table, high="0.5") == [3, 8, 20]
    assert select(table, state="rejected", reason="dicom") == [21]
    assert select(table, reason="no such reason") == []


def test_a_reviewed_scan_is_found_by_its_verdict_and_the_others_by_having_none():
    table, _ = make_table()
    reviews = {3: "agree", 20: "disagree", 99: "agree"}
    assert select(table, reviews, review="agree") == [3]
    assert select(table, reviews, review="none") == [7, 8, 4, 21]
    assert select(table, {}, review="agree") == []


def test_each_column_is_read_when_a_query_needs_it_and_then_kept():
    table, reads = make_table()
    assert select(table, sort="scan", view="PA") == [3, 7, 21]
    assert reads == []
    for _ in range(2):
        select(table, state="scored")
    assert reads == ["Mass"]
    for _ in range(2):
        select(table, sort="scan", label="unknown")
    assert reads == ["Mass", "labels"]


def test_a_scan_knows_the_ones_before_and_after_it():
    ids = np.array([7, 3, 20])
    assert neighbours(ids, 7) == Neighbours(previous=None, next=3, place=1, total=3)
    assert neighbours(ids, 3) == Neighbours(previous=7, next=20, place=2, total=3)
    assert neighbours(ids, 20) == Neighbours(previous=3, next=None, place=3, total=3)
    assert neighbours(ids, 8) is None


def test_a_form_offers_the_values_that_occur_and_a_missing_one_is_unknown():
    """A CSV may have the word itself; both are one choice, which finds both."""
    table, _ = make_table()
    found = choices(table)
    assert found.states == {"scored": 4, "rejected": 2}
    assert found.reasons == {"missing": 1, "dicom": 1}
    assert found.views == {"PA": 3, "unknown": 2, "AP": 1}
    assert len(select(table, view="unknown")) == 2
