"""Finds the SQL examples in the documents, whichever page they are on, and the tables of the report's files."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
#: Blocks of SQL, queries in a line of text, and what a shell command gives to a database's own program.
_BLOCK = re.compile(r"^```sql\n(.*?)^```", re.DOTALL | re.MULTILINE)
_IN_TEXT = re.compile(r"`((?:SELECT|WITH)\s[^`]+)`")
_IN_SHELL = re.compile(r"\b(?:sqlite3|psql)\b[^\n\"]*\"([^\"]+)\"")
#: The rows of a table of docs/report.md or docs/compare.md: of a shape of JSON, or of a CSV.
_TABLE = re.compile(r"^\| (?:field|column) of `([\w.]+)` \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
#: Others, such as .backup or CREATE ROLE, do not read.
_QUERY = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)


@dataclass(frozen=True)
class SqlExample:
    """A query of a document."""

    document: str
    #: The line before it.
    lead: str
    sql: str

    def __str__(self):
        return f"{self.document}: {self.lead or self.sql[:40]}"


def all_text():
    """The text of all documents."""
    return "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


def sql_examples():
    """Every query of every document."""
    return [example for path in DOCUMENTS for example in _examples_of(path)]


def example_after(lead):
    """The one query that stands after a line that begins like this."""
    (found,) = (example.sql for example in sql_examples() if example.lead.startswith(lead))
    return found


def field_tables(document):
    """The tables of a page of docs/ by what they describe, such as `coverage`: the type of each field or column."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return {name: dict(_described(rows)) for name, rows in _TABLE.findall(text)}


def _described(rows):
    for row in rows.splitlines():
        names, kind = row.strip("| ").split(" | ")[:2]
        for name in re.findall(r"`(\w+)`", names):
            yield name, kind.strip()


def _examples_of(path):
    text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
    for pattern in (_BLOCK, _IN_TEXT, _IN_SHELL):
        for match in pattern.finditer(text):
            lead = text[: match.start()].rstrip().rpartition("\n")[2] if pattern is _BLOCK else ""
            for statement in re.split(r";\s*$", match[1], flags=re.MULTILINE):
                if _QUERY.match(statement):
                    yield SqlExample(name, lead, statement.strip())
