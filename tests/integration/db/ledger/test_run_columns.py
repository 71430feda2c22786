"""The columns of a run are those of the views, scan by scan, on both databases."""

import numpy as np
import pytest
from sqlalchemy import text

from db.engine.session import open_database, read_transaction
from db.errors import UserError
from db.findings import column_of
from db.ledger.run_columns import (
    read_fingerprint,
    read_labels,
    read_run_facts,
    read_scores,
    read_states,
)
from tests.support.worklist_ledger import FINDINGS, FINISHED, RUNS, make_worklist_ledger


def texts(column):
    return [column.values[code] for code in column.codes.tolist()]


def numbers(values):
    return [None if np.isnan(value) else value for value in values.tolist()]


def answers(values):
    return [None if value < 0 else value for value in values.tolist()]


def columns_of(connection, run_id):
    """By name in the view, the columns of the run's scans."""
    run, states = read_run_facts(connection, run_id), read_states(connection, run_id)
    assert run.findings == FINDINGS
    labels = read_labels(connection, run_id, run.label_set_id, states.scan_ids)
    columns = {
        "scan_id": states.scan_ids.tolist(),
        "state": texts(states.states),
        "reason": texts(states.reasons),
        "reused": states.reused.tolist(),
        "held_out": answers(states.held_out),
        "view": texts(states.views),
        "sex": texts(states.sexes),
        "age_years": numbers(states.ages),
    }
    for finding in FINDINGS:
        columns[column_of(finding)] = numbers(read_scores(connection, run_id, finding, states.scan_ids))
        columns[f"{column_of(finding)}_label"] = answers(labels.of(finding))
    return columns


@pytest.mark.parametrize("fitted_scans_unknown", [False, True])
def test_the_columns_of_a_run_are_those_of_the_views(database_url, fitted_scans_unknown):
    """Of scored, rejected, quarantined and pending scans, with and without labels, held out or nobody knows."""
    make_worklist_ledger(database_url, fitted_scans_unknown=fitted_scans_unknown)
    engine = open_database(database_url)
    with read_transaction(engine) as connection:
        met = {}
        for run_id in RUNS:
            columns = columns_of(connection, run_id)
            query = text(f"SELECT {', '.join(columns)} FROM results_wide WHERE run_id = {run_id} ORDER BY scan_id")
            shown = zip(*connection.execute(query), strict=True)
            assert columns == {name: list(values) for name, values in zip(columns, shown, strict=True)}
            long = text(f"SELECT scan_id, finding, score, label FROM results WHERE run_id = {run_id}")
            assert set(map(tuple, connection.execute(long))) == {
                (scan, finding, score, label)
                for finding in FINDINGS
                for scan, score, label in zip(
                    *(columns[name] for name in ("scan_id", column_of(finding), f"{column_of(finding)}_label")),
                    strict=True,
                )
                if score is not None
            }
            for name, values in columns.items():
                met.setdefault(name, set()).update(values)
    engine.dispose()
    # The ledger has every case.
    assert met["state"] == {"scored", "rejected", "quarantined", "pending"}
    assert met["held_out"] == ({0, None} if fitted_scans_unknown else {0, 1, None})
    assert met["reused"] == {False, True}
    assert met["effusion_label"] == {0, 1, None}
    assert met["fracture_label"] == {None}
    assert None in met["view"] & met["sex"] & met["age_years"]


def test_a_scan_that_is_gone_or_came_later_leaves_the_others_in_their_places(engine, database_url):
    """Columns are read one by one, and a patient may be forgotten in between."""
    make_worklist_ledger(database_url, scans=30)
    with read_transaction(engine) as connection:
        all_ids = read_states(connection, FINISHED).scan_ids
        ids = np.append(all_ids[1:-1], 10**9)
        whole, part = (read_scores(connection, FINISHED, "Hernia", some) for some in (all_ids, ids))
        assert numbers(part) == [*numbers(whole)[1:-1], None]
        labels = [read_labels(connection, FINISHED, 1, some).of("Hernia") for some in (all_ids, ids)]
        assert answers(labels[1]) == [*answers(labels[0])[1:-1], None]


def test_a_run_that_is_not_there_is_named(engine):
    with read_transaction(engine) as connection:
        for read in (read_fingerprint, read_run_facts):
            with pytest.raises(UserError, match=r"^no run 7$"):
                read(connection, 7)
