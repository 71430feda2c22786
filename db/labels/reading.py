"""How a person wants a labels CSV to be read: column names, layout, what -1 and blanks mean, a hospital's own words."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

#: How a CSV holds its findings: a list in one cell, one column a finding, or one row a finding (or box).
LayoutName: TypeAlias = Literal["list", "columns", "rows"]
#: `auto` decides by the header.
LayoutChoice: TypeAlias = Literal["auto", "list", "columns", "rows"]
#: What -1 means in a column of a finding.
Uncertain: TypeAlias = Literal["ignore", "positive", "negative"]
#: What an empty cell means in a column of a finding.
Blank: TypeAlias = Literal["negative", "ignore"]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A hospital's own column names; None means that the column is found by its `Field`.

    A label set's hash depends on this class's `repr`, so neither the class nor a field may be renamed.
    """

    image: str | None = None
    labels: str | None = None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a labels CSV is read. The defaults read NIH's layout as every version did."""

    columns: Columns = field(default_factory=Columns)
    layout: LayoutChoice = "auto"
    #: `ignore`: such a finding is neither positive nor negative.
    uncertain: Uncertain = "ignore"
    #: The default is that of CheXpert's authors: https://github.com/stanfordmlgroup/chexpert-labeler/issues/9.
    blank: Blank = "negative"
    #: A hospital's own terms and the findings that they mean, sorted; '' for terms that mean none.
    mapped: tuple[tuple[str, str], ...] = ()
    #: Leave out words that are not known, and count them.
    ignore_unknown: bool = False
    #: Regular expression whose only group is the patient's id in an image name; None reads a column.
    patient_pattern: str | None = None


DEFAULT_READING: Final = Reading()
