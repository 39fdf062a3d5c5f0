"""What `install.sh` installs: Node 22, the official suite, the Inspector and the SDK's everything-server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hub.running import DEADLINE_S, Json, until

SUITE_DEADLINE_S = 180.0
SCENARIO_MS = 120_000
INSTALL = Path(__file__).with_name("install.sh")


def toolkit_folder() -> Path:
    """Where the toolkit is, or would be."""
    if chosen := os.environ.get("HUB_CONFORMANCE"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "omni-hub" / "conformance"


MISSING = (
    None
    if (toolkit_folder() / "installed").exists()
    else f"no toolkit in {toolkit_folder()}: run {INSTALL.relative_to(Path(__file__).parents[2])}"
)
"""Why the tests cannot run here; None when they can."""


@dataclass(frozen=True)
class Scores:
    """What a run of the suite came to.

    Attributes:
        passed: The scored scenarios without a failure.
        failed: The scored scenarios with one.
        unscored_failed: What failed among the scenarios that count for nothing.
        output: All that the suite said.
    """

    passed: frozenset[str]
    failed: frozenset[str]
    unscored_failed: frozenset[str]
    output: str


def _environment(folder: Path) -> dict[str, str]:
    """No setting of whoever runs the tests, and a home of its own for what writes into one."""
    node = toolkit_folder() / "node_modules" / "node-bin" / "bin"
    return {
        "PATH": f"{node}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }


def run_node(folder: Path, script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program on Node 22.

    Args:
        folder: Where it runs and what it takes for the home folder.
        script: The program, inside the toolkit's `node_modules`.
        arguments: Its arguments.
    """
    command = ["node", str(toolkit_folder() / "node_modules" / script), *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=SUITE_DEADLINE_S,
        check=False,
    )


SUITE = Path("@modelcontextprotocol/conformance/dist/index.js")


def run_scenario(folder: Path, side: str, revision: str, scenario: str, *arguments: str) -> list[Json]:
    """Run one scenario; gives its checks, as the suite writes them.

    Args:
        folder: Where it runs and leaves its results.
        side: `server` or `client`: what is tested.
        revision: The revision of the protocol.
        scenario: Its name.
        arguments: Further arguments.
    """
    which = ("--scenario", scenario, "--spec-version", revision, "--timeout", str(SCENARIO_MS))
    done = run_node(folder, SUITE, side, *which, "-o", str(folder), *arguments)
    written = list(folder.rglob("checks.json"))
    assert len(written) == 1, f"{done.stdout}\n{done.stderr}"
    checks: list[Json] = json.loads(written[0].read_text())
    return checks


def run_suite(folder: Path, side: str, revision: str, *arguments: str) -> Scores:
    """Run everything that a revision of the protocol requires.

    Args:
        folder: Where it runs.
        side: `server` or `client`: what is tested.
        revision: The revision, as the suite calls it.
        arguments: Further arguments.
    """
    done = run_node(folder, SUITE, side, "--requirements", revision, *arguments)
    return _read_scores(f"{done.stdout}\n{done.stderr}")


_RESULT = re.compile(r"^( *)([✓✗]) ([\w/.-]+)", re.MULTILINE)


def _read_scores(output: str) -> Scores:
    summary = output.partition("=== SUMMARY ===")[2]
    assert summary, f"the suite came to no end:\n{output[-3000:]}"
    every = {name: sign for indent, sign, name in _RESULT.findall(summary) if not indent}
    unscored = {name for indent, _, name in _RESULT.findall(summary) if indent}
    failed = {name for name, sign in every.items() if sign == "✗"}
    return Scores(
        passed=frozenset(every.keys() - unscored - failed),
        failed=frozenset(failed - unscored),
        unscored_failed=frozenset(failed & unscored),
        output=output,
    )


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def everything_command(code: str) -> Sequence[str]:
    """Runs the SDK's everything-server."""
    return [sys.executable, "-W", "ignore", "-c", f"from mcp_everything_server.server import {code}"]


def everything_environment() -> Mapping[str, str]:
    """What the everything-server needs to be found."""
    return {"PYTHONPATH": str(toolkit_folder() / "everything-server"), "PATH": os.environ["PATH"]}


@contextlib.contextmanager
def everything_over_http() -> Iterator[str]:
    """The SDK's everything-server over HTTP; yields its URL."""
    port = free_port()
    command = [*everything_command("main; main()"), "--port", str(port), "--log-level", "CRITICAL"]
    process = subprocess.Popen(
        command, env=dict(everything_environment()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:

        def listens() -> bool:
            assert process.poll() is None, "the everything-server ended"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            return False

        until(listens, "the everything-server", DEADLINE_S)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()
