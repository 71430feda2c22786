"""Links between the Markdown pages lead somewhere, and the code names only pages that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
CODE = [
    path
    for folder in ("db", "worker", "producer", "trainer", "tests", "docker", "docs/systemd")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".j2", ".yaml", ".yml", ".sh", ".service", ".timer"}
]


def prose(page):
    """A page without its code blocks, whose comments look like headings."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page):
    """The targets of a page's links and pictures that lie in the repository."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in target]


def anchors(page):
    """The anchors that GitHub gives a page's headings: lower case, hyphens for spaces, and no other marks."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    """The file or folder exists, and an anchor is one of the page's headings."""
    for target in links(page):
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_page_of_the_docs_is_in_their_index():
    """A reader finds each page from docs/README.md."""
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert [page.name for page in PAGES if page.parent == index.parent and page not in {*listed, index}] == []


def test_the_code_names_only_pages_that_exist():
    """Comments and messages send nobody to a page that has another name now."""
    named = {(path, name) for path in CODE for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text())}
    assert named
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in named if not (ROOT / name).exists()] == []
