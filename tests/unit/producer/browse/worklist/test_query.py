"""The query of a worklist: what an address may say, and that it says it again."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import UserError
from producer.browse.worklist.query import LABELS, REVIEWS, SORTS, STATES, VERDICTS, WorklistQuery, parse_query

FINDINGS = ("Abnormal", "Mass", "Pleural_Thickening")
THRESHOLDS = {"Abnormal": 0.35, "Mass": 0.2471, "Pleural_Thickening": 0.5}

rates = st.floats(0, 1).map(lambda value: value + 0.0)
ages = st.floats(0, 120).map(lambda value: value + 0.0)
texts = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20) | st.just("a & b=c%+")
PARAMETERS = {
    "finding": st.sampled_from(FINDINGS),
    "sort": st.sampled_from(SORTS),
    "low": rates.filter(lambda value: value <= 0.5),
    "high": rates.filter(lambda value: value >= 0.5),
    "label": st.sampled_from(LABELS),
    "verdict": st.sampled_from(VERDICTS),
    "threshold": rates,
    "state": st.sampled_from(STATES),
    "reason": texts,
    "view": texts,
    "sex": texts,
    "age_from": ages.filter(lambda value: value <= 60),
    "age_to": ages.filter(lambda value: value >= 60),
    "held_out": st.sampled_from("10"),
    "is_new": st.sampled_from("10"),
    "review": st.sampled_from(REVIEWS),
    "page": st.integers(1, 10**9 - 1),
}
parameters = st.fixed_dictionaries({}, optional=PARAMETERS).map(
    lambda given: {name: str(value) for name, value in given.items()}
)


def parse(address: str | dict[str, str]) -> WorklistQuery:
    """The query of an address of this run."""
    params = address if isinstance(address, dict) else dict(parse_qsl(address, strict_parsing=bool(address)))
    return parse_query(params, findings=FINDINGS, default_finding="Abnormal", default_threshold=THRESHOLDS)


@settings(max_examples=60)
@given(parameters)
def test_an_address_gives_the_query_that_it_was_made_from(params: dict[str, str]) -> None:
    """Whatever is filtered: nothing is lost, and the same query has one address."""
    query = parse(params)
    assert parse(query.address()) == query
    assert parse(query.address()).address() == query.address()


def test_an_address_says_only_what_differs_from_the_default() -> None:
    """Addresses are short enough to send: an empty field of a form, and a default, are left out."""
    assert parse("").address() == ""
    assert parse({"low": "", "reason": " ", "sort": "score", "threshold": "0.35", "page": "1"}).address() == ""
    assert parse("").address(finding="Mass", label="1") == "finding=Mass&label=1"
    assert parse("held_out=0&is_new=1").address() == "held_out=0&is_new=1"


def test_a_change_leads_to_the_first_page() -> None:
    """The seventh page of another list would be any scans."""
    query = parse("label=1&page=7")
    assert query.address(page=8) == "label=1&page=8"
    assert query.address() == "label=1&page=7"
    assert query.address(label=None) == ""


def test_another_finding_has_its_own_threshold() -> None:
    """A threshold that nobody chose is the default of the finding; a chosen one stays."""
    assert parse(parse("verdict=wrong").address(finding="Mass")).threshold == THRESHOLDS["Mass"]
    assert parse(parse("verdict=wrong&threshold=0.6").address(finding="Mass")).threshold == 0.6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("finding", "Lung"),
        ("finding", "<script>" * 10_000),
        ("sort", "date; DROP TABLE runs"),
        ("low", "0.5x"),
        ("low", "nan"),
        ("high", "inf"),
        ("high", "-1e-9"),
        ("threshold", "1.01"),
        ("threshold", "9" * 5_000),
        ("age_from", "-1"),
        ("label", "-1"),
        ("verdict", "both"),
        ("state", "done"),
        ("view", "P\x00A"),
        ("reason", "a\nb"),
        ("sex", "\ud800"),
        ("sex", "F" * 101),
        ("held_out", "yes"),
        ("is_new", "2"),
        ("review", "agreed"),
        ("page", "0"),
        ("page", "-1"),
        ("page", "1.5"),
        ("page", "²"),
        ("page", "1" + "0" * 400),
    ],
)
def test_nonsense_is_refused_in_one_sentence(name: str, value: str) -> None:
    """It names the parameter and what is possible, on one short line that can be printed."""
    with pytest.raises(UserError, match=rf"^{name}=.* is not possible: give ") as refused:
        parse({name: value})
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("address", ["low=0.6&high=0.4", "age_from=60&age_to=40"])
def test_a_range_from_high_to_low_is_refused(address: str) -> None:
    """It would be an empty list that looks like an answer."""
    with pytest.raises(UserError, match="is above"):
        parse(address)
