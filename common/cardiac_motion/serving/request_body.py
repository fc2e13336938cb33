"""How large the body of a request may be, for every server here: what it declares, then what really comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def header_texts(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers of an ASGI ``scope``, their names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


class BodyLimit:
    """At most so many bytes.

    Args:
        most: bytes of a body.

    Attributes:
        reason: why a larger one is refused, one line.
    """

    def __init__(self, most: int) -> None:
        self.most, self.reason = most, f"the body is larger than {most / 2**20:g} MiB"

    def is_declared(self, headers: Mapping[str, str]) -> bool:
        """Whether ``Content-Length`` is a number within the limit, or is left out."""
        length = headers.get("content-length", "0")
        return length.isdigit() and int(length) <= self.most

    def count_bytes(self, receive: Receive, error: Exception) -> Receive:
        """``receive``, which raises ``error`` when more has come than may."""
        taken = 0

        async def receive_counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise error
            return message

        return receive_counted
