"""The form of a review, as a browser sends it or as somebody else may."""

import asyncio

import pytest

from db.errors import UserError
from producer.browse.pages.review_form import ReviewForm, parse_form, read_form


async def chunks(*parts):
    for part in parts:
        yield part


def test_a_form_is_read_in_any_pieces():
    """Text keeps its characters; an unticked box is not sent."""
    sent = b"comment=caf%C3%A9+%26+more%3D&verdict=agree"
    expected = ReviewForm(verdict="agree", comment="café & more=", go_on=False)
    assert asyncio.run(read_form(chunks(sent[:11], sent[11:], b""))) == expected
    assert parse_form(b"go_on=1") == ReviewForm(verdict="", comment="", go_on=True)


@pytest.mark.parametrize("body", [b"comment=%ff", "comment=é".encode(), b"\x00\xff", b"&".join([b"a=1"] * 99)])
def test_what_is_no_form_is_refused_in_one_sentence(body):
    """Bytes that are no text, and more fields than the form has."""
    with pytest.raises(UserError, match="the form cannot be read"):
        parse_form(body)


def test_a_body_without_an_end_is_refused_before_it_fills_the_memory():
    """Reading stops with the chunk that is too much."""
    taken = []

    async def endless():
        while True:
            taken.append(1)
            yield b"x" * 4_096

    with pytest.raises(UserError, match="more than 8,192 bytes"):
        asyncio.run(read_form(endless()))
    assert len(taken) == 3
