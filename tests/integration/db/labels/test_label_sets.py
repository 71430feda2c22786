"""Label sets of one name on both databases: each means exactly its own file, and only differences are stored."""

import random
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db.engine.session import read_transaction
from db.errors import UserError
from db.findings import NIH_FINDINGS
from db.labels import label_sets
from db.labels.csv_file import LabelRow, LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.open_run import RunRequest, open_run
from db.ledger.scans import register_scans
from db.metrics.report_queries import find_label_set
from db.schema.label_history import is_label_of
from db.schema.tables import NEGATIVE, POSITIVE, UNCERTAIN, Label, LabelSet, Scan
from tests.support.ledger import a_model

FINDINGS = (
    *((), ("No Finding",), ("Mass",), ("Effusion", "Mass"), ("Hernia",)),
    *(("?Mass",), ("-Mass", "Effusion"), ("-Hernia", "?Edema")),
)
#: What the files of two nights say of each scan.
YESTERDAY = {1: ("Mass",), 2: ("Effusion", "Mass"), 3: (), 4: ("No Finding",)}
TODAY = YESTERDAY | {5: ("Hernia",)}


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    """Compares three rows at a time, so that a file of eight takes several slices."""
    monkeypatch.setattr(label_sets, "_ROWS_PER_SLICE", 3)


#: The sign before a finding that is not positive, as in `?Mass`.
SIGNS = {POSITIVE: "", NEGATIVE: "-", UNCERTAIN: "?"}


def rows_of(labels):
    about = dict.fromkeys(("patient_id", "view", "sex", "age_years", "follow_up"))

    def with_sign(found, value):
        signed = (name for name in found if (name[0] if name[0] in "-?" else "") == SIGNS[value])
        return tuple(name.lstrip("-?") for name in signed)

    return tuple(
        LabelRow(
            image_name=f"{number}.png",
            findings=with_sign(found, POSITIVE),
            negative=with_sign(found, NEGATIVE),
            uncertain=with_sign(found, UNCERTAIN),
            **about,
        )
        for number, found in labels.items()
    )


def import_file(engine, digit, labels, name="nights", *, covered=NIH_FINDINGS, reading=None, **options):
    """Register the scans of a file and import its labels; returns the label set's id."""
    rows = rows_of(labels)
    about = {"covered": covered, "reading": reading or {}}
    file = LabelsFile(path=Path("nights.csv"), sha256=digit * 64, dataset="nights", rows=rows, **about)
    with engine.begin() as connection:
        ids = register_scans(connection, "nights", rows, {})
        return import_labels(connection, file, rows, ids, name, **options)


def labels_in(engine, label_set_id):
    """What a label set says of each labelled scan, by the number in its name."""
    query = select(Scan.image_name, Label.finding, Label.value).join(Label).join(LabelSet, is_label_of())
    labels = {}
    with read_transaction(engine) as connection:
        for name, finding, value in connection.execute(query.where(LabelSet.id == label_set_id)):
            labels.setdefault(int(name.removesuffix(".png")), []).append(SIGNS[value] + finding)
    return {number: tuple(sorted(findings)) for number, findings in labels.items()}


def labelled(labels):
    return {number: findings for number, findings in labels.items() if findings}


def count(engine, table=Label):
    with read_transaction(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar()


def test_a_csv_that_grows_stores_only_what_is_new(engine):
    """Yesterday's labels are in today's label set without a second row."""
    first = import_file(engine, "a", YESTERDAY)
    assert count(engine) == 4
    second = import_file(engine, "b", TODAY)
    assert count(engine) == 5
    assert (labels_in(engine, first), labels_in(engine, second)) == (labelled(YESTERDAY), labelled(TODAY))


def test_what_a_later_file_says_changes_no_earlier_label_set(engine):
    """A scan that was unlabelled, is labelled otherwise or is gone means the same as before in yesterday's."""
    today = {1: ("Hernia",), 2: ("Mass",), 3: ("Mass",), 5: ("Mass",)}
    first, second = import_file(engine, "a", YESTERDAY), import_file(engine, "b", today)
    assert (labels_in(engine, first), labels_in(engine, second)) == (labelled(YESTERDAY), today)


def test_a_label_that_changes_its_value_ends_and_begins(engine):
    """Uncertain yesterday, positive today: each label set says what its own file does."""
    first = import_file(engine, "a", {1: ("?Mass",), 2: ("?Mass",)})
    second = import_file(engine, "b", {1: ("Mass",), 2: ("?Mass",)})
    third = import_file(engine, "c", {1: ("-Mass",), 2: ("?Mass",)})
    assert count(engine) == 4
    said = [labels_in(engine, label_set)[1] for label_set in (first, second, third)]
    assert said == [("?Mass",), ("Mass",), ("-Mass",)]


def test_a_label_set_keeps_what_its_file_covers_and_how_it_was_read(engine):
    """The files of one name may differ; findings stand in the order of the vocabulary."""
    import_file(engine, "a", YESTERDAY)
    import_file(engine, "b", YESTERDAY, covered=("Fracture", "Mass"), reading={"-1": "uncertain"})
    import_file(engine, "c", YESTERDAY, covered=())
    with read_transaction(engine) as connection:
        found = connection.execute(select(LabelSet.covered, LabelSet.reading).order_by(LabelSet.id)).all()
    nih = "|".join(NIH_FINDINGS)
    assert list(map(tuple, found)) == [(nih, {}), ("Mass|Fracture", {"-1": "uncertain"}), ("", {})]


def test_the_rest_of_a_file_joins_its_own_label_set(engine):
    """After later files too: `--limit 2` imported the first rows only, and the other label sets stay as they are."""
    first = import_file(engine, "a", dict(list(TODAY.items())[:2]))
    second = import_file(engine, "b", {1: ("Hernia",)})
    assert import_file(engine, "a", TODAY) == first
    assert labels_in(engine, first) == labelled(TODAY)
    assert labels_in(engine, second) == {1: ("Hernia",)}


def test_a_trial_of_a_few_rows_does_not_store_the_rest_again(engine):
    """The whole file, which comes after `--limit 1`, takes up the rows that the trial had ended."""
    first = import_file(engine, "a", YESTERDAY)
    import_file(engine, "b", {1: TODAY[1]})
    second = import_file(engine, "b", TODAY)
    assert count(engine) == 5
    assert (labels_in(engine, first), labels_in(engine, second)) == (labelled(YESTERDAY), labelled(TODAY))


@pytest.mark.parametrize("seed", range(3))
def test_every_label_set_means_its_own_file_whatever_comes_in_which_order(engine, seed):
    """Forty imports of whole and partial files, old and new; no two rows of a label overlap."""
    draw, files, said = random.Random(seed), {}, {}
    for _ in range(40):
        digit = draw.choice("abcdef")
        numbers = draw.sample(range(1, 9), draw.randint(1, 8))
        whole = files.setdefault(digit, {number: draw.choice(FINDINGS) for number in sorted(numbers)})
        part = dict(list(whole.items())[: draw.randint(1, 8)])
        label_set = import_file(engine, digit, part)
        said[label_set] = said.get(label_set, {}) | labelled(part)
        assert {known: labels_in(engine, known) for known in said} == said
    with read_transaction(engine) as connection:
        latest = connection.execute(select(func.max(LabelSet.id))).scalar()
        rows = connection.execute(select(Label.scan_id, Label.finding, Label.since_id, Label.until_id)).all()
    for label_set in range(1, latest + 1):
        valid = [row[:2] for row in rows if row.since_id <= label_set and (row.until_id or latest + 1) > label_set]
        assert len(valid) == len(set(valid))


def test_a_name_means_its_latest_label_set_except_for_a_run_with_its_own(engine):
    """`NAME@HASH` means one file's for every run; an unknown name is answered with the known ones, each once."""
    first, second = import_file(engine, "a", YESTERDAY), import_file(engine, "b", TODAY)
    other = import_file(engine, "c", TODAY, name="second")
    with engine.begin() as connection:
        model = a_model(connection).id
        common = {"source": "x", "dataset": "nights", "model_id": model, "options": {}}
        mine, _ = open_run(connection, RunRequest(sha256="a" * 64, label_set_id=first, **common), [1])
        none, _ = open_run(connection, RunRequest(sha256="b" * 64, label_set_id=None, **common), [1])

        def found(run, name):
            label_set = find_label_set(connection, run, name)
            return label_set and label_set.id

        assert [found(run, "nights") for run in (mine, none)] == [first, second]
        assert [found(run, f"nights@{'b' * 8}") for run in (mine, none)] == [second, second]
        assert [found(run, None) for run in (mine, none)] == [first, None]
        assert found(mine, "second") == other
        for unknown in ("nights@cccccccc", "nights@bbb", "third"):
            with pytest.raises(UserError, match=r"there are: nights, second$"):
                found(mine, unknown)


@pytest.mark.parametrize(
    "contradiction",
    [{1: ("Mass", "Hernia")}, {2: ("Mass",)}, {4: ()}, {4: None}, {1: ("?Mass",)}],
    ids=["more", "less", "unlabelled", "gone", "uncertain"],
)
def test_a_file_that_may_only_add_is_refused_if_it_contradicts(engine, contradiction):
    """One sentence says what to do, and nothing is written; a scan that was unlabelled may get labels."""
    import_file(engine, "a", YESTERDAY)
    changed = {number: found for number, found in (TODAY | contradiction).items() if found is not None}
    with pytest.raises(UserError, match=r"^nights\.csv: .* is never edited, .*; choose another --name$"):
        import_file(engine, "b", changed, may_change=False)
    assert (count(engine, LabelSet), count(engine)) == (1, 4)
    import_file(engine, "b", TODAY | {3: ("Hernia",)}, may_change=False)
    assert (count(engine, LabelSet), count(engine)) == (2, 6)


def test_a_file_that_may_only_add_may_cover_more_and_not_less(engine):
    """What it does not cover any more would be unknown, where it was absent."""
    import_file(engine, "a", YESTERDAY, covered=("Mass",), may_change=False)
    with pytest.raises(UserError, match="choose another --name"):
        import_file(engine, "b", YESTERDAY, covered=("Edema",), may_change=False)
    import_file(engine, "b", YESTERDAY, covered=("Edema", "Mass"), may_change=False)
    assert count(engine, LabelSet) == 2
