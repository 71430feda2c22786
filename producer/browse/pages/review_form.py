"""Reads the form by which a person reviews a scan."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from db.errors import UserError

#: A comment of the longest kind, each of whose characters takes twelve, is not quite as long.
_MAX_BYTES: Final = 8_192
_MAX_FIELDS: Final = 10


@dataclass(frozen=True, kw_only=True)
class ReviewForm:
    """What a person sent."""

    #: As sent; `db.ledger.reviews.add_review` checks it.
    verdict: str
    comment: str
    #: Show the next scan of the worklist afterwards.
    go_on: bool


async def read_form(chunks: AsyncIterator[bytes]) -> ReviewForm:
    """Read a form from the chunks of a request's body.

    Raises:
        UserError: it is too long, or not a form.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > _MAX_BYTES:
            raise UserError(f"the form has more than {_MAX_BYTES:,} bytes; shorten the comment")
    return parse_form(bytes(body))


def parse_form(body: bytes) -> ReviewForm:
    """Parse a form in the encoding of addresses. Missing fields are empty.

    Raises:
        UserError: it is not one.
    """
    try:
        fields = dict(
            parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
        )
    except ValueError as error:
        raise UserError("the form cannot be read; go back to the scan and send it again") from error
    return ReviewForm(
        verdict=fields.get("verdict", ""), comment=fields.get("comment", ""), go_on=fields.get("go_on") == "1"
    )
