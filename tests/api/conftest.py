"""One hub with its HTTP faces and a scripted model behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.simulation.scripted_model import Call, Fail, Hang, Request, Say, ScriptedModel, Step
from tests.hub.running import Hubs, Served, stdio, until, write_servers

SETTINGS = """
model = "openai/scripted"
api_base = "{url}"

[http]
body_bytes_max = 100_000
concurrency_max = 6
drain_s = 3.0

[agent]
model_retries_max = 0
lane_queue_max = 1
"""


def script(request: Request) -> Step:
    """What the model answers: its orders stand in the last line of the user's message."""
    said = request.user.splitlines()[-1]
    if said.startswith("hang"):
        return Hang()
    if said.startswith("slow"):
        return Say("slowly " * 20, delay_s=0.3, piece_delay_s=0.05)
    if said.startswith("echo") and not request.results:
        return Call("old.echo", {"text": said}, text="Let me see.")
    if said.startswith("repeat the conversation"):
        return Say(" | ".join(f"{m['role']}: {m['content']}" for m in request.messages[1:-1]))
    if said.startswith("repeat the system"):
        return Say(request.messages[0]["content"])
    if said.startswith("fail"):
        return Fail(401, "no such key")
    if said.startswith("as json"):
        return Say('{"city": "Bern"}')
    if request.results:
        return Say("The tool said it.")
    return Say(f"You said: {said}")


class Scripted:
    """The scripted model, served from a thread while the tests run."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._served: list[Any] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(20)
        self.model: ScriptedModel = self._served[0]
        self.url = self.model.url

    async def _serve(self) -> None:
        async with ScriptedModel(script, label="") as model:
            stop = asyncio.Event()
            self._served.extend((model, asyncio.get_running_loop(), stop))
            self._ready.set()
            await stop.wait()

    def count(self, text: str) -> int:
        """How many requests had a text in their last message of the user."""
        return sum(text in request.user for request in list(self.model.requests))

    def end(self) -> None:
        self._served[1].call_soon_threadsafe(self._served[2].set)
        self._thread.join(20)


@pytest.fixture(scope="session")
def scripted() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.end()


def serve(home: Path, scripted: Scripted, *options: str) -> Served:
    """A hub with one server, whose agent asks the scripted model."""
    (home / "hub.toml").write_text(SETTINGS.format(url=scripted.url))
    env = home / ".env"
    env.write_text("OPENAI_API_KEY=none-needed\n")
    env.chmod(0o600)
    write_servers(home, {"old": stdio("echo.py")})
    return Served(home, *options)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, scripted: Scripted) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("api")
    hub = serve(home, scripted)
    try:
        hub.http.get("/runs")  # opens the agent
        status = hub.http.post("/message", json={"message": "hello", "session_id": "first"})
        assert status.status_code == 200, status.text
        yield hub
    finally:
        hub.stop()
        Hubs(home).end()


__all__ = ["Scripted", "serve", "until"]
