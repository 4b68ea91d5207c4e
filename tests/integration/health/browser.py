"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

# Without the last four a start looks up names on the internet.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Page:
    """One tab; `events` is what it told of its own accord, such as the console's messages."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; raise RuntimeError if the browser refuses it."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while True:
            answer = json.loads(await asyncio.wait_for(self._socket.receive_str(), 120))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(answer["error"]["message"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    async def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; raise RuntimeError if it throws."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description", script))
        return result["result"].get("value")

    async def open(self, path: Path, *, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Open a file in a window of this size, in the `light` or `dark` colour scheme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        await self.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        await self.call("Page.navigate", url=f"file://{path}")
        loaded = f"location.pathname.endsWith('{path.name}') && document.readyState"
        for _ in range(2400):
            with contextlib.suppress(RuntimeError):  # asked while one page goes and the next one comes
                if await self.run(loaded) == "complete":
                    return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{path} did not load")


@contextlib.asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """Start Chromium with a new profile and give its tab; end it afterwards."""
    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("Chromium is missing: apt-get install chromium")
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(await _tab(session, port), max_msg_size=0) as socket,
        ):
            yield Page(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _tab(session: aiohttp.ClientSession, port: int) -> str:
    for _ in range(2400):
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            for tab in await answer.json():
                if tab["type"] == "page":
                    return str(tab["webSocketDebuggerUrl"])
        await asyncio.sleep(0.05)
    raise RuntimeError("Chromium opened no tab")


async def _port(path: Path) -> int:
    for _ in range(2400):
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            return int(path.read_text().splitlines()[0])  # noqa: ASYNC240  # two lines, written by the browser
        await asyncio.sleep(0.05)
    raise RuntimeError("Chromium did not start")
