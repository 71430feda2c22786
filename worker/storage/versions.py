"""The version of an image: what a listing says of its bytes without reading them."""

from dataclasses import dataclass
from typing import Final

#: Another host may see a share's times rounded: FAT's to 2 s. S3 lists fractions of a second that its answers lack.
_TIME_TOLERANCE_NS: Final = 2_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What is known of an image's version; as a string `etag:ETAG stat:SIZE-MODIFIED`, or a part of that."""

    #: Of an S3 object, if its store gives one. It need not be a hash, and a store may give all objects the same one.
    etag: str | None = None
    #: In bytes.
    size: int | None = None
    #: When it was written, in nanoseconds since 1970.
    modified: int | None = None

    def __str__(self) -> str:
        etag = [f"etag:{self.etag}"] if self.etag else []
        stat = [f"stat:{self.size}-{self.modified}"] if None not in (self.size, self.modified) else []
        return " ".join(etag + stat)

    @classmethod
    def parse(cls, text: str) -> "Version":
        """The version that a string says."""
        words = dict(word.split(":", 1) for word in text.split(" "))
        size, _, modified = words.get("stat", "").partition("-")
        return cls(etag=words.get("etag"), **({"size": int(size), "modified": int(modified)} if size else {}))

    def may_be(self, other: "Version") -> bool:
        """Whether nothing that both say differs, apart from rounded times."""
        if None not in (self.etag, other.etag) and self.etag != other.etag:
            return False
        if None not in (self.size, other.size) and self.size != other.size:
            return False
        if self.modified is None or other.modified is None:
            return True
        return abs(self.modified - other.modified) <= _TIME_TOLERANCE_NS
