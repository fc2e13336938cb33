"""What is told to open pages, over a socket each, as soon as it changes."""

from __future__ import annotations

import asyncio
import json

from starlette.websockets import WebSocket, WebSocketDisconnect

from cardiac_motion.workbench.requests import in_thread
from cardiac_motion.workbench.store import Store
from cardiac_motion.workbench.studies import Studies


class Events:
    """Tells a page, over a socket, whenever a case changes.

    Args:
        store: of the cases.
        studies: whose names a page shows.
    """

    def __init__(self, store: Store, studies: Studies) -> None:
        self.store, self.studies = store, studies

    async def listen(self, socket: WebSocket) -> None:
        """Serve a page until it goes away."""
        await socket.accept()
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        with self.store.watch(lambda: loop.call_soon_threadsafe(changed.set)):
            telling = asyncio.ensure_future(self._tell(socket, changed))
            try:
                while not telling.done():  # what a page says here is not looked at; that it goes away is
                    await socket.receive_text()
            except (WebSocketDisconnect, RuntimeError):
                pass
            finally:
                telling.cancel()

    async def _tell(self, socket: WebSocket, changed: asyncio.Event) -> None:
        last = None
        while True:
            changed.clear()
            cases = await in_thread(self.store.list_cases)
            now = json.dumps({"cases": cases, "studies": self.studies.known})
            if now != last:
                await socket.send_text(now)
                last = now
            await changed.wait()
