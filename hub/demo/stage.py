"""Where the tour happens: a home of its own, the scripted model, a client in front of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.calls import Json
from hub.demo.story import script
from hub.home import Home
from hub.lock import owner
from hub.simulation.scripted_model import ScriptedModel

if TYPE_CHECKING:
    from mcp import Client

CALL_DEADLINE_S = 60.0
"""How long one call of the tour may take; the first that needs a model imports LiteLLM."""
STOP_DEADLINE_S = 20.0
"""How long the hub may take to end."""


class DemoFailed(Exception):
    """A step did not do what it is there to show."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is set up for the tour.

    Attributes:
        home: The hub's home.
        client: A real MCP client, connected through `hub mcp`.
        model: The scripted model.
        connected_s: How long it took from launching `hub mcp` to its first answer.
    """

    home: Home
    client: Client
    model: ScriptedModel
    connected_s: float

    async def call(self, tool: str, arguments: Json, on_message: Callable[[str], None] | None = None) -> Json:
        """Call a tool and return its structured result.

        Raises:
            DemoFailed: The tool answered with an error.
        """

        async def report(progress: float, total: float | None, message: str | None) -> None:
            if on_message is not None and message:
                on_message(message)

        from mcp.shared.exceptions import MCPError

        try:
            result: Any = await self.client.call_tool(
                tool, arguments, read_timeout_seconds=CALL_DEADLINE_S, progress_callback=report
            )
        except (MCPError, RuntimeError) as error:  # the SDK refuses a malformed result with the latter
            raise DemoFailed(f"{tool} could not be called: {error}") from None
        if result.is_error:
            text = " ".join(getattr(block, "text", "") for block in result.content)
            raise DemoFailed(f"{tool} answered with an error: {text}")
        structured = result.structured_content
        if not isinstance(structured, dict):
            raise DemoFailed(f"{tool} gave no structured result")
        return structured


@asynccontextmanager
async def set_up(folder: Path | None) -> AsyncIterator[Stage]:
    """Make a home, start the model, connect a client; clear everything away at the end.

    Args:
        folder: The home, left in place at the end; None for one that is deleted.

    Raises:
        DemoFailed: The folder holds something already, or the hub could not be reached.
    """
    async with AsyncExitStack() as clearing:
        root = _folder(folder)
        if folder is None:
            clearing.callback(shutil.rmtree, root, ignore_errors=True)
        home = Home.at(root)
        model = await clearing.enter_async_context(ScriptedModel(script))
        _furnish(home, model.url)
        clearing.push_async_callback(_stop, home)
        started = time.perf_counter()
        client = await clearing.enter_async_context(_client(home))
        yield Stage(home, client, model, time.perf_counter() - started)


def _folder(wanted: Path | None) -> Path:
    """A folder that holds nothing yet."""
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="hub-demo-"))
    root = wanted.expanduser().absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DemoFailed(f"{root} holds something already; the demo needs a folder of its own")
    return root


def _furnish(home: Home, model_url: str) -> None:
    """Write what a person would write: mcp.json, hub.toml, .env and a skill."""
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    servers: Json = {
        "almanac": {
            "command": sys.executable,
            "args": ["-m", "hub.examples.almanac"],
            "description": "Units, dates and time zones.",
        },
        "notes": {
            "command": sys.executable,
            "args": ["-m", "hub.examples.notes", "--file", str(home.root / "notes.json")],
            "description": "Notes in one file.",
        },
    }
    home.servers_file.write_text(json.dumps({"mcpServers": servers}, indent=2) + "\n", encoding="utf-8")
    home.settings_file.write_text(
        f'model = "openai/scripted"\napi_base = "{model_url}"\nidle_exit_s = 30\n', encoding="utf-8"
    )
    home.env_file.write_text("OPENAI_API_KEY=the-scripted-model-needs-none\n", encoding="utf-8")
    home.env_file.chmod(0o600)
    shutil.copytree(Path(__file__).parent / "skill", home.skills_folder, dirs_exist_ok=True)


@asynccontextmanager
async def _client(home: Home) -> AsyncIterator[Client]:
    """The official SDK's client, in front of `hub mcp` as a child process."""
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp_types import Implementation

    launched = StdioServerParameters(
        command=sys.executable, args=["-m", "hub", "mcp", "--home", str(home.root)], cwd=home.root
    )
    home.log_file.parent.mkdir(exist_ok=True)
    with (home.log_file.parent / "attachment.log").open("w", encoding="utf-8") as errors:
        info = Implementation(name="hub demo", version="1")
        async with Client(stdio_client(launched, errors), client_info=info) as client:
            yield client


async def _stop(home: Home) -> None:
    """End the hub of the home: politely, then firmly."""
    pid = (owner(home) or {}).get("pid")
    if not isinstance(pid, int):
        return
    command = [sys.executable, "-m", "hub", "stop", "--json", "--home", str(home.root)]
    stopping = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(STOP_DEADLINE_S):
            code = await stopping.wait()
    except TimeoutError:
        stopping.kill()
        code = await stopping.wait()
    if code != 0 and owner(home) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def is_running(pid: int) -> bool:
    """Whether a process lives. Always false on Windows, where looking would end it."""
    if sys.platform == "win32":
        return False
    with contextlib.suppress(OSError, IndexError):
        # One that has ended stays listed until its parent takes note; a container's first process may never.
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
