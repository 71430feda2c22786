"""The vocabulary fits the SQL that is made of it."""

from db.findings import FINDINGS, NIH_FINDINGS, SPECIFIC_FINDINGS, column_of


def test_no_findings_name_is_a_part_of_another_ones():
    """A view asks whether a label set covers a finding by looking for its name in the list of all names."""
    assert [(a, b) for a in SPECIFIC_FINDINGS for b in SPECIFIC_FINDINGS if a != b and a in b] == []


def test_nihs_findings_come_first():
    """A view asks whether a label set covers all of them by the beginning of that list."""
    assert SPECIFIC_FINDINGS[: len(NIH_FINDINGS)] == NIH_FINDINGS


def test_every_finding_has_a_column_of_its_own():
    """Its name is a plain word of SQL."""
    columns = [column_of(finding) for finding in FINDINGS]
    assert len(set(columns)) == 21
    assert all(column.replace("_", "").isalpha() and column.islower() for column in columns)
