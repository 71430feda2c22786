"""Finds the finding that a word of a labels CSV names."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Final

from db.findings import NO_FINDING, SPECIFIC_FINDINGS
from db.labels.cells import quoted
from db.labels.text import InvalidLabels

#: A word that says that something is there, but none of our findings.
NOTHING: Final = ""
#: How alike two words are, from 0 to 1, of which the one is offered for the other.
_ALIKE: Final = 0.6
#: How alike a column's name is to a finding's if it is likely a misspelt one.
_MISSPELT: Final = 0.85
#: Names of columns that are like `Normal`, and are not findings.
_NO_FINDING_COLUMNS: Final = frozenset({"abnormal"})
#: Words that an ignored file's message lists.
_MAX_LISTED: Final = 20


def normalise(word: str) -> str:
    """A word without the marks and case in which its spellings differ: `PLEURAL-THICKENING`, `Pleural_Thickening`."""
    return re.sub(r"[\s_-]+", " ", word).strip().casefold()


#: Other words that mean exactly a finding. `Nodule/Mass` is not one of them: it does not say which of the two.
_ALIASES: Final = {
    "no findings": NO_FINDING,
    "normal": NO_FINDING,
    # RSNA's detailed classes (Shih et al. 2019).
    "no lung opacity / not normal": NOTHING,
    # CheXpert, MIMIC-CXR, PadChest, VinDr-CXR.
    "pleural effusion": "Effusion",
    # Majkowska et al. 2020; torchxrayvision renames it alike.
    "airspace opacity": "Lung Opacity",
    # NIH's BBox_List_2017.csv; PadChest.
    "infiltrate": "Infiltration",
    "infiltrates": "Infiltration",
    # PadChest, VinDr-CXR, and the British spelling.
    "pulmonary edema": "Edema",
    "oedema": "Edema",
    "pulmonary oedema": "Edema",
    "pulmonary fibrosis": "Fibrosis",
}
_KNOWN: Final[Mapping[str, str]] = {
    **{normalise(finding): finding for finding in (*SPECIFIC_FINDINGS, NO_FINDING)},
    **_ALIASES,
}


def known_finding(word: str) -> str | None:
    """The finding that a word names in every file, or None; see `NOTHING`."""
    return _KNOWN.get(normalise(word))


def nearest(word: str) -> str:
    """The known findings with names most like the word, in brackets with a space before; '' if there is none."""
    # Cut: comparing takes the square of the length.
    found = get_close_matches(normalise(word)[:60], _KNOWN, n=3, cutoff=_ALIKE)
    names = dict.fromkeys(_KNOWN[word] for word in found if _KNOWN[word])
    return f" (nearest: {', '.join(names)})" if names else ""


def describe_ignored(ignored: Mapping[str, int]) -> str:
    """The words that were left out, with the number of rows that have them, the most frequent first."""
    ordered = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{word} {count:,}" for word, count in islice(ordered, _MAX_LISTED))
    more = f" and {len(ordered) - _MAX_LISTED} more" if len(ordered) > _MAX_LISTED else ""
    return f"ignored words, and how many rows have them: {listed}{more}"


class FindingWords:
    """The words that name findings in one file, and which of them it used."""

    def __init__(self, mapped: Iterable[tuple[str, str]], *, ignore_unknown: bool) -> None:
        self._mapped = {normalise(term): finding for term, finding in mapped}
        self._ignore_unknown = ignore_unknown
        #: Terms of `--map` that the file has, normalised, and the findings that they mean.
        self.used: dict[str, str] = {}

    def finding(self, word: str) -> str | None:
        """The finding that a word names, `NOTHING`, or None if the word is unknown and to be ignored.

        Raises:
            InvalidLabels: the word is unknown.
        """
        found = self._find(word)
        if found is None and not self._ignore_unknown:
            raise InvalidLabels(f"has {quoted(word.strip())}, which is not a known finding{nearest(word)}; {_REMEDIES}")
        return found

    def is_known(self, name: str) -> bool:
        """Whether the word names a finding."""
        return bool(self._find(name))

    def finding_of_column(self, name: str) -> str | None:
        """The finding that a column is named after, `NOTHING` for any other column, or None if it is to be ignored.

        Raises:
            InvalidLabels: the name is likely that of a finding, misspelt.
        """
        found, key = self._find(name), normalise(name)
        if found is not None:
            return found
        if key in _NO_FINDING_COLUMNS or not get_close_matches(key[:60], _KNOWN, n=1, cutoff=_MISSPELT):
            return NOTHING
        if not self._ignore_unknown:
            raise InvalidLabels(f"column {quoted(name)} is not a known finding{nearest(name)}; {_REMEDIES}")
        return None

    def _find(self, word: str) -> str | None:
        key = normalise(word)
        if key not in self._mapped:
            return _KNOWN.get(key)
        self.used[key] = self._mapped[key]
        return self._mapped[key]


_REMEDIES: Final = "say what it means with --map 'TERM=FINDING', or leave unknown words out with --ignore-unknown"
