"""The message: a chunk of one ledger's scans for one model, as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, Strict, StrictStr, ValidationError

from db.errors import NightreadError

#: A worker drops a message of another version; SQL still holds the work.
FORMAT_VERSION: Final = 2
#: Far above any chunk size: a longer message is hostile.
MAX_SCANS: Final = 10_000
#: Characters of a chunk's locations. In JSON and base64 a character may take 8 bytes; `envelope.MAX_BYTES` is 16 MiB.
MAX_CHARACTERS: Final = 1_500_000
TASK: Final = "nightread.score_chunk"

#: The range of SQL's BIGINT.
_Id = Annotated[int, Strict(), Field(ge=1, lt=2**63)]


class InvalidMessage(NightreadError):
    """A message that is foreign, or older than the ledger. It is dropped: SQL still holds the work.

    Its sentence repeats nothing of the message, which may hold names.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkScan:
    """One scan of a chunk: the outcome that is asked for, and the path or S3 key of its image.

    A worker drops the message where SQL has another location for that outcome.
    """

    outcome_id: int
    location: str


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The scans of one message.

    Attributes:
        ledger: `db.ledger.ledger_id` of the ledger whose outcomes are asked for.
        model: sha256 of the model's artifact.
    """

    ledger: str
    model: str
    scans: tuple[ChunkScan, ...]

    @property
    def queue(self) -> str:
        """The queue that only workers of this ledger with this model read."""
        return queue_of(self.ledger, self.model)

    @property
    def printed(self) -> str:
        """The form for logs and events: ids, no names."""
        ids = [scan.outcome_id for scan in self.scans]
        return f"(outcomes {min(ids)}-{max(ids)}, {len(ids)} scans)" if ids else "(empty)"

    @property
    def is_too_long(self) -> bool:
        """Whether its locations are so long that it is sent in halves."""
        return len(self.scans) > 1 and sum(len(scan.location) for scan in self.scans) > MAX_CHARACTERS

    def halves(self) -> tuple["Chunk", "Chunk"]:
        """Two chunks with half the scans each."""
        middle = len(self.scans) // 2
        return replace(self, scans=self.scans[:middle]), replace(self, scans=self.scans[middle:])

    def to_message(self) -> dict[str, Any]:
        """The JSON object of the message."""
        pairs = [[scan.outcome_id, scan.location] for scan in self.scans]
        return {"version": FORMAT_VERSION, "ledger": self.ledger, "model": self.model, "scans": pairs}

    @staticmethod
    def from_message(message: object) -> "Chunk":
        """Read a message.

        Raises:
            InvalidMessage: it is not a chunk of this version.
        """
        try:
            wire = _Wire.model_validate(message)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            raise InvalidMessage(
                f"not a chunk of version {FORMAT_VERSION}: {_place(first['loc'])}: {first['msg']}"
            ) from None
        if wire.version != FORMAT_VERSION:
            raise InvalidMessage(f"a chunk of version {wire.version}, this worker reads {FORMAT_VERSION}")
        scans = tuple(ChunkScan(outcome_id=outcome_id, location=location) for outcome_id, location in wire.scans)
        return Chunk(ledger=wire.ledger, model=wire.model, scans=scans)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=0, lt=1000)
    ledger: str = Field(pattern=r"^[0-9a-f]{12}$")
    model: str = Field(pattern=r"^[0-9a-f]{64}$")
    # JSON has no tuples: the pair arrives as a list, and its parts must have these very types.
    scans: list[Annotated[tuple[_Id, StrictStr], Strict(strict=False)]] = Field(min_length=1, max_length=MAX_SCANS)


def _place(parts: Sequence[int | str]) -> str:
    # An unknown field may be named after a patient.
    return ".".join(str(part) if isinstance(part, int) or part in _Wire.model_fields else "?" for part in parts)


def queue_of(ledger: str, model_sha256: str) -> str:
    """The queue of a ledger's chunks for one model."""
    return f"score.{ledger}.{model_sha256[:12]}"
