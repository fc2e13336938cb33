"""Who may ask: the right host, the right origin, the token, and no more than so many bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.request_body import BodyLimit, header_texts
from cardiac_motion.serving.validation import RequestRejected

COOKIE = "workbench"
LONGEST_BODY = 2**18  # bytes of a body that is no file
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses what is not from the page itself, before anything reads it.

    Args:
        hosts: ``Host`` headers that are taken, without the port; a page of another name can't ask.
        token: in the printed address; kept in a cookie after that.
        passwords: name to password, asked for as HTTP basic authentication beside the token; None asks for none.
        most: bytes of a file.
    """

    def __init__(
        self, app: ASGIApp, hosts: tuple[str, ...], token: str, passwords: dict[str, str] | None, most: int
    ) -> None:
        self.app, self.hosts, self.token, self.passwords = app, hosts, token, passwords
        self.files, self.others = BodyLimit(most), BodyLimit(LONGEST_BODY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope, header_texts(scope))
        if refusal is not None:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            else:
                await refusal(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items() if k.lower().encode() not in given]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        limit = self.limit_of(scope)
        await self.app(scope, limit.count_bytes(receive, RequestRejected(413, limit.reason)), add_headers)

    def limit_of(self, scope: Scope) -> BodyLimit:
        """How large a body may be: of files as large as they are taken, of other requests what fits into memory."""
        path = scope.get("path", "")
        return self.files if path == "/api/uploads" or path.endswith("/label") else self.others

    def refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """Why a request is not let in; None lets it in."""
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in self.hosts:
            return refuse(421, "this server has another name")
        origin = headers.get("origin")
        if origin is None and scope["type"] == "websocket" and "sec-fetch-site" not in headers:
            return refuse(403, "no origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return refuse(403, "another page's request")
        changes = scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD")
        if headers.get("sec-fetch-site") == "cross-site" and changes:
            return refuse(403, "another page's request")
        if not self.limit_of(scope).is_declared(headers):
            return refuse(413, self.limit_of(scope).reason)
        if self.passwords is not None and not self.is_known(headers.get("authorization", "")):
            answer = refuse(401, "name and password")
            answer.headers["WWW-Authenticate"] = 'Basic realm="workbench"'
            return answer
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        if cookie is not None and is_same(cookie.value, self.token):
            return None
        query = dict(p.split("=", 1) for p in scope.get("query_string", b"").decode("latin-1").split("&") if "=" in p)
        if scope["type"] == "http" and scope["path"] == "/" and is_same(query.get("token", ""), self.token):
            page = RedirectResponse("/", 303, headers=HEADERS)
            page.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", path="/")
            return page
        return refuse(401, "open the address that the server printed when it started")

    def is_known(self, authorization: str) -> bool:
        """Whether name and password are those of the file."""
        kind, _, value = authorization.partition(" ")
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return False
        wanted = (self.passwords or {}).get(name)
        return kind.lower() == "basic" and is_same(password, wanted or secrets.token_hex(8))


def is_same(given: str, wanted: str) -> bool:
    """Whether two texts are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(wanted.encode()).digest())


def refuse(status: int, reason: str) -> JSONResponse:
    """An answer of one line."""
    return JSONResponse({"detail": reason}, status, headers=HEADERS)


def read_passwords(path: str | Path) -> dict[str, str]:
    """Name to password, of a file of lines ``name:password`` that nobody else can read.

    Raises:
        InputError: it can't be read, others may read it, or a line is neither.
    """
    try:
        file = Path(path)
        if file.stat().st_mode & 0o077:
            raise InputError(f"{path}: others may read it; chmod 600 {path}")
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    if len(found) != len(lines) or not found or min(len(p) for p in found.values()) < 8:
        raise InputError(f"{path}: expected lines name:password, of at least 8 characters")
    return found
