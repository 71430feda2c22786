"""A comparison of runs says what counting rows of the views gives, and why runs cannot be compared."""

import shutil

import numpy as np
import pytest
from sqlalchemy import insert, select, text

from db.engine.session import make_engine, open_database, read_transaction
from db.errors import UserError
from db.metrics.scored_scans import ALL, HELD_OUT
from db.schema.tables import ModelScan, Scan
from producer.compare.build import build_comparison
from producer.compare.sentences import warnings
from producer.compare.verdict import headline
from tests.support.compare_ledger import ELSEWHERE, FIRST, LABEL_SETS, REUSED, SECOND, SHARED, make_compare_ledger

#: By finding, those of the first and the second model.
CHOSEN = {"Abnormal": (0.3, 0.5), "Effusion": (0.25, 0.4)}


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory):
    """A ledger that is whole without a process that has it open."""
    path = tmp_path_factory.mktemp("compare") / "nightread.sqlite"
    engine = open_database(f"sqlite:///{path}")
    make_compare_ledger(engine)
    engine.dispose()
    return path


@pytest.fixture
def ledger(ledger_file, tmp_path):
    """A copy of it, which the test may change."""
    copy = shutil.copy(ledger_file, tmp_path / "nightread.sqlite")
    engine = make_engine(f"sqlite:///{copy}")
    yield engine
    engine.dispose()


def compared(engine, first=FIRST, second=SECOND, **asked):
    """The comparison, and the scans that it is of."""
    options = {"label_set": None, "subset": HELD_OUT, "threshold": None, "finding": None}
    with read_transaction(engine) as connection:
        return build_comparison(connection, first, second, **options | asked)


def refusal(engine, *runs, **asked):
    """The sentence that says why these runs are not compared."""
    with pytest.raises(UserError) as error:
        compared(engine, *runs, **asked)
    return str(error.value)


def scored_rows(engine, run):
    """A run's scored scans by id, from the public view."""
    query = text("SELECT * FROM results_wide WHERE run_id = :run AND state = 'scored' ORDER BY scan_id")
    with read_transaction(engine) as connection:
        return {row["scan_id"]: dict(row) for row in connection.execute(query, {"run": run}).mappings()}


def counts(pairs):
    """How many pairs have both, only the first, only the second, and neither."""
    return tuple(sum(pair == kind for pair in pairs) for kind in ((1, 1), (1, 0), (0, 1), (0, 0)))


def counts_of(changes):
    return (changes.both, changes.only_first, changes.only_second, changes.neither)


def test_a_comparison_equals_a_recount_of_the_view(engine):
    """Scans that both runs scored and neither model has seen, each judged by its label set, at its own threshold."""
    make_compare_ledger(engine)
    first, second = scored_rows(engine, FIRST), scored_rows(engine, SECOND)
    common = sorted(first.keys() & second.keys())
    unseen = [scan for scan in common if 0 not in {first[scan]["held_out"], second[scan]["held_out"]}]
    assert len(unseen) < len(common) < min(len(first), len(second))
    for subset, label_set, used, judging in (
        (HELD_OUT, None, unseen, second),
        (ALL, None, common, second),
        (HELD_OUT, "films", unseen, first),
    ):
        comparison, pair = compared(engine, subset=subset, label_set=label_set)
        seen = len(common) - len(unseen)
        assert (comparison.common, comparison.seen, comparison.used) == (len(common), seen, len(used))
        assert (comparison.first.scored, comparison.second.scored) == (len(first), len(second))
        assert pair.scan_ids.tolist() == used
        check_patients(comparison, pair, [first[scan]["patient_id"] or scan for scan in used])
        for finding in SHARED:
            rows = [(first[scan], second[scan], first[scan], judging[scan]) for scan in used]
            check_finding(comparison.findings[finding], finding, rows)


def check_patients(comparison, pair, patients):
    """Both runs' scans are of the patients; a number in place of a patient's id is a scan without one."""
    assert (np.equal.outer(pair.first.patients, pair.first.patients) == np.equal.outer(patients, patients)).all()
    assert (pair.first.patients == pair.second.patients).all()
    assert comparison.patients == len({one for one in patients if isinstance(one, str)})


def check_finding(result, finding, rows):
    """The rows are of both runs' scores, and of both runs' labels."""
    name, flags, right, labels = finding.lower(), [], [], []
    for *scored, first_labels, second_labels in rows:
        flags.append(tuple(row[name] >= at for row, at in zip(scored, CHOSEN[finding], strict=True)))
        of_scan = (first_labels[f"{name}_label"], second_labels[f"{name}_label"])
        if None not in of_scan:
            labels.append(of_scan)
            right.append(tuple(flag == label for flag, label in zip(flags[-1], of_scan, strict=True)))
    assert counts_of(result.flagged) == counts(flags)
    assert counts_of(result.correct) == counts(right)
    assert result.changed.tolist() == [one != other for one, other in flags]
    assert (result.judged_scans, result.first_positives, result.second_positives) == (
        len(labels),
        *map(sum, zip(*labels, strict=True)),
    )
    assert result.labels_changed == sum(one != other for one, other in labels)


def test_what_one_model_alone_scores_is_not_compared(ledger):
    """The others come in the order of the first model."""
    comparison, _ = compared(ledger)
    assert list(comparison.findings) == list(SHARED)
    assert (comparison.only_first, comparison.only_second) == (("Hernia",), ("Mass",))
    told = " ".join(warnings(comparison))
    assert "only model first of run 1 scores it: Hernia." in told
    assert "only model second of run 2 scores it: Mass." in told


@pytest.mark.parametrize(
    ("runs", "label_set", "named"),
    [
        pytest.param((FIRST, SECOND), None, LABEL_SETS, id="each its own"),
        pytest.param((REUSED, FIRST), None, (LABEL_SETS[0],) * 2, id="the other run's"),
        pytest.param((FIRST, SECOND), "radiologists", (LABEL_SETS[1],) * 2, id="one for both"),
    ],
)
def test_each_run_is_judged_by_a_label_set(ledger, runs, label_set, named):
    """Its own, that of the other run, or the one that a person names. Different ones are told."""
    comparison, _ = compared(ledger, *runs, label_set=label_set)
    assert (comparison.first.label_set, comparison.second.label_set) == named
    assert any("label set of its own" in told for told in warnings(comparison)) == (named[0] != named[1])


def test_runs_without_labels_are_compared_by_their_scores(ledger):
    """Agreement and predictions need no label; a label set can be named."""
    with ledger.begin() as connection:
        connection.execute(text("UPDATE runs SET label_set_id = NULL"))
    comparison, _ = compared(ledger)
    assert comparison.first.label_set is comparison.second.label_set is None
    assert headline(comparison).startswith(
        "Without labels of Abnormal, nothing tells which run is better: scores for Abnormal differ by "
    )
    assert comparison.main.agreement.scans == comparison.used == sum(counts_of(comparison.main.flagged))
    assert comparison.main.correct is None
    assert " AUROC for Abnormal: " in headline(compared(ledger, label_set="films")[0])


def test_runs_that_share_their_outcomes_cannot_differ(ledger):
    """That is a sentence, not an error."""
    comparison, _ = compared(ledger, SECOND, REUSED)
    assert comparison.same_outcomes == comparison.common
    assert any("so nothing can differ" in told for told in warnings(comparison))
    assert compared(ledger)[0].same_outcomes == 0


def test_scans_whose_image_was_changed_between_the_runs_are_counted(ledger):
    """Their scores are of two images. Nothing is told of an image whose bytes one of the outcomes does not tell."""
    assert compared(ledger)[0].other_bytes == 0
    with ledger.begin() as connection:
        of_second = "(SELECT outcome_id FROM run_scans WHERE run_id = 2 AND scan_id IN "
        change = "UPDATE outcomes SET content = {} WHERE state = 'scored' AND id IN " + of_second + "({}))"
        connection.execute(text(change.format("'sha256:other'", "101, 102, 103")))
        connection.execute(text(change.format("NULL", "104, 105")))
        connection.execute(text(change.format("'etag:other'", "106")))
    comparison, _ = compared(ledger)
    assert (comparison.other_bytes, comparison.same_outcomes) == (3, 0)
    assert any("of two images" in told for told in warnings(comparison))


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        pytest.param(None, [("youden", 0.25), ("best_f1", 0.4), ("youden", 0.3), ("default", 0.5)], id="own"),
        pytest.param("best F1", [("best_f1", 0.45), ("best_f1", 0.4), ("best_f1", 0.35), ("default", 0.5)], id="name"),
        pytest.param("0.7", [("given", 0.7)] * 4, id="number"),
    ],
)
def test_a_model_predicts_at_its_own_threshold_or_at_the_one_that_is_asked_for(ledger, asked, chosen):
    """A finding without the threshold of that name has the one that it has otherwise."""
    comparison, _ = compared(ledger, threshold=asked)
    shown = []
    for finding in ("Effusion", "Abnormal"):
        result = comparison.findings[finding]
        shown.append((comparison.first.chosen_by[finding], result.first_threshold))
        shown.append((comparison.second.chosen_by[finding], result.second_threshold))
    assert shown == chosen


@pytest.mark.parametrize(
    ("runs", "asked", "sentence"),
    [
        ((FIRST, FIRST), {}, "run 1 cannot be compared with itself: name two runs; 'producer runs' lists them"),
        ((FIRST, 9), {}, "no run 9"),
        ((FIRST, SECOND), {"subset": "held"}, "no subset 'held'; there are: held_out, all"),
        ((FIRST, SECOND), {"label_set": "mine"}, "no label set 'mine'; there are: films, radiologists"),
        (
            (FIRST, SECOND),
            {"finding": "Mass"},
            "--finding 'Mass': there are no figures of it, but of Abnormal, Effusion",
        ),
        (
            (FIRST, SECOND),
            {"threshold": "youden"},
            "--threshold youden: model second has best_f1; name one of both models, or a number",
        ),
        (
            (FIRST, SECOND),
            {"threshold": "nan"},
            "--threshold nan: write a number from 0 to 1, or the name of a threshold of the models",
        ),
        (
            (SECOND, ELSEWHERE),
            {},
            (
                "no scan is scored in both runs: run 2 is of dataset films, run 4 of elsewhere; compare two runs of "
                "one source, which 'producer enqueue --model NAME' scores with another"
            ),
        ),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(ledger, runs, asked, sentence):
    """It names the runs, and what there is instead."""
    assert refusal(ledger, *runs, **asked) == sentence


def test_a_run_without_a_scored_scan_is_named(ledger):
    """With its state, because it explains that: it was cancelled."""
    with ledger.begin() as connection:
        connection.execute(text("UPDATE runs SET cancelled_at = created_at WHERE id = 4"))
        connection.execute(text("DELETE FROM run_scans WHERE run_id = 4"))
    sentence = "run 4 has no scored scan (cancelled); name another run: 'producer runs' lists them"
    assert refusal(ledger, FIRST, ELSEWHERE) == sentence


def test_models_without_a_finding_in_common_are_not_compared(ledger):
    """The findings of both are named."""
    with ledger.begin() as connection:
        connection.execute(text("UPDATE models SET manifest = '{\"findings\": [\"Mass\"]}' WHERE name = 'second'"))
    assert "first scores Abnormal, Effusion, Hernia, and second scores Mass;" in refusal(ledger)


def test_scans_that_a_model_has_seen_are_compared_only_if_asked_for(ledger):
    """If all of them were seen, no scan is left."""
    with ledger.begin() as connection:
        columns = ("model_id", "dataset", "image_name", "patient_id", "subset")
        there = select(ModelScan.image_name).where(ModelScan.model_id == 2)
        scans = select(2, Scan.dataset, Scan.image_name, Scan.patient_id, text("'train'"))
        scans = scans.where(Scan.dataset == "films", Scan.image_name.not_in(there))
        connection.execute(insert(ModelScan).from_select(columns, scans))
    assert "were seen by one of the models" in refusal(ledger)
    assert "add --subset all" in refusal(ledger)
    comparison, _ = compared(ledger, subset=ALL)
    assert comparison.used == comparison.seen == comparison.common


def test_a_label_set_that_judges_no_common_scan_is_refused(ledger):
    """Figures by it would all be undefined."""
    with ledger.begin() as connection:
        connection.execute(text("DELETE FROM labels WHERE series_id = (SELECT series_id FROM label_sets WHERE id = 2)"))
    assert "label set 'radiologists' judges none of the " in refusal(ledger, label_set="radiologists")


def test_an_unfinished_run_is_compared_only_as_partial(ledger):
    """The comparison says so."""
    with ledger.begin() as connection:
        pending = "state = 'pending', reason = NULL, detail = NULL"
        connection.execute(
            text(f"UPDATE outcomes SET {pending} WHERE id = (SELECT MAX(id) FROM outcomes WHERE model_id = 2)")
        )
    assert "run 2 is not finished: 1 of 240 scans are pending" in refusal(ledger)
    comparison, _ = compared(ledger, partial=True)
    assert warnings(comparison)[0].startswith("PARTIAL")


def test_held_out_is_not_said_where_nobody_knows_what_a_model_was_fitted_on(ledger):
    """The note names the run."""
    with ledger.begin() as connection:
        about = "manifest = json_set(manifest, '$.about', json('{\"fitted_scans\": \"unknown\"}'))"
        connection.execute(text(f"UPDATE models SET {about} WHERE name = 'second'"))
    comparison, _ = compared(ledger)
    assert "Of run 2: Held out: unknown." in comparison.held_out_note
    assert "scans (held out: unknown)" in headline(comparison)
