"""Size limit of request bodies, shared by all servers: first the declared size, then the received bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def header_texts(scope: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of an ASGI ``scope``, with names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


class BodyLimit:
    """Maximum size of a request body.

    Args:
        most: maximum number of bytes.

    Attributes:
        reason: one-line message for a larger body.
    """

    def __init__(self, most: int) -> None:
        self.most, self.reason = most, f"the body is larger than {most / 2**20:g} MiB"

    def is_declared(self, headers: Mapping[str, str]) -> bool:
        """Return whether ``Content-Length`` is missing or a number within the limit."""
        length = headers.get("content-length", "0")
        return length.isdigit() and int(length) <= self.most

    def count_bytes(self, receive: Receive, error: Exception) -> Receive:
        """Wrap ``receive`` so that it raises ``error`` once more bytes have arrived than allowed."""
        taken = 0

        async def receive_counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise error
            return message

        return receive_counted
