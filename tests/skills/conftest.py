"""A skills worker as a real process, kept warm for the tests of one file."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import Tool

DEADLINE_S = 60.0


class Worker:
    """A client of one worker process, for tests that are plain functions."""

    def __init__(self, *skills: Path, env: dict[str, str]) -> None:
        args = ["-P", "-m", "hub.skills.worker"]
        for skill in skills:
            args += ["--skill", str(skill)]
        self._parameters = StdioServerParameters(command=sys.executable, args=args, env=env)
        self._loop = asyncio.new_event_loop()
        self._ready: Future[Client] = Future()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._hold(),))

    async def _hold(self) -> None:
        try:
            async with Client(self._parameters) as client:
                self._ready.set_result(client)
                await self._closing.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    @contextmanager
    def running(self) -> Iterator[Worker]:
        self._thread.start()
        try:
            self._ready.result(DEADLINE_S)
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(DEADLINE_S)
            self._loop.close()

    def tools(self) -> list[Tool]:
        listed = asyncio.run_coroutine_threadsafe(self._ready.result().list_tools(), self._loop)
        return listed.result(DEADLINE_S).tools

    def start(self, tool: str, /, **arguments: Any) -> Future[Any]:
        """A call that runs while the test goes on."""
        return asyncio.run_coroutine_threadsafe(self._ready.result().call_tool(tool, arguments), self._loop)

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured content of a call that succeeds."""
        result = self.start(tool, **arguments).result(DEADLINE_S)
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    def refused(self, tool: str, /, **arguments: Any) -> str:
        """The message of a call that fails."""
        result = self.start(tool, **arguments).result(DEADLINE_S)
        assert result.is_error, result.structured_content
        return " ".join(block.text for block in result.content)


@pytest.fixture(scope="session")
def start_worker() -> Callable[..., Worker]:
    """Makes a worker for skills' folders and an environment."""
    return Worker
