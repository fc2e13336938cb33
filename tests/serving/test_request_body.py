"""A body is no larger than it may be, whatever it says of itself."""

import asyncio

import pytest

from cardiac_motion.serving.request_body import BodyLimit, header_texts


def test_headers_are_found_by_their_names_in_lower_case():
    assert header_texts({"headers": [(b"Host", b"a:1"), (b"X-Who", b"Ad\xe9")]}) == {"host": "a:1", "x-who": "Adé"}


@pytest.mark.parametrize(("length", "within"), [("10", True), ("11", False), ("-1", False), ("", False), ("x", False)])
def test_what_is_declared(length, within):
    limit = BodyLimit(10)
    assert limit.is_declared({"content-length": length}) is within
    assert limit.is_declared({})


def test_what_really_comes_is_counted_over_all_pieces():
    async def read(pieces):
        messages = iter([{"type": "http.request", "body": piece} for piece in pieces])

        async def receive():
            return next(messages)

        counted = BodyLimit(10).count_bytes(receive, ValueError("too much"))
        return [(await counted())["body"] for _ in pieces]

    assert asyncio.run(read([b"12345", b"67890"])) == [b"12345", b"67890"]
    with pytest.raises(ValueError, match="too much"):
        asyncio.run(read([b"12345", b"67890", b"1"]))
