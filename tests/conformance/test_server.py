"""The official conformance suite through the hub, in front of the SDK's everything-server.

The suite's own words for what a revision requires (`--requirements`) decide what is scored. What fails
without being scored is listed here and explained in `docs/conformance.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.toolkit import (
    MISSING,
    everything_command,
    everything_environment,
    everything_over_http,
    run_suite,
)
from tests.hub.running import Client, Hubs, Json, Served, write_servers, write_settings

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

SCORED = {"2025-11-25": 30, "2026-07-28": 37}

TASKS = {
    f"tasks-{name}"
    for name in (
        "capability-negotiation",
        "dispatch-and-envelope",
        "lifecycle",
        "mrtr-composition",
        "mrtr-input",
        "request-headers",
        "request-state-removal",
        "required-task-error",
        "wire-fields",
    )
}
"""The everything-server knows no tasks; these fail without the hub too."""

UNSCORED_FAILED = {
    "direct": {"2025-11-25": set(), "2026-07-28": TASKS | {"http-header-validation"}},
    # The hub shows root-level alternatives of input schemas in the one form that every model API takes.
    "http": {"2025-11-25": set(), "2026-07-28": TASKS | {"json-schema-2020-12"}},
    "stdio": {"2025-11-25": set(), "2026-07-28": TASKS | {"json-schema-2020-12"}},
}


@pytest.fixture(scope="module", params=["direct", "http", "stdio"])
def tested(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Json]:
    """The URL of the everything-server, or of a hub in front of it."""
    kind = request.param
    with ExitStack() as stack:
        entry: Json
        if kind == "stdio":
            command, *args = everything_command("mcp; mcp.run(transport='stdio')")
            entry = {"command": command, "args": args, "env": dict(everything_environment())}
        else:
            url = stack.enter_context(everything_over_http())
            entry = {"type": "http", "url": url}
        if kind == "direct":
            yield {"kind": kind, "url": url}
            return
        home = tmp_path_factory.mktemp(kind) / "home"
        write_settings(home, 'builtin_tools = false\ntool_names = "bare"\n')
        write_servers(home, {"everything": entry})
        hubs = Hubs(home)
        stack.callback(hubs.end)
        served = Served(home, "--no-auth")
        stack.callback(served.stop)
        opening: Client = hubs.attach()
        opening.open()
        opening.wait_for_tool("test_simple_text")
        opening.close()
        yield {"kind": kind, "url": f"{served.url}/mcp"}


@pytest.mark.parametrize("revision", SCORED)
def test_the_suite_finds_nothing_wrong(tested: Json, revision: str, tmp_path: Path) -> None:
    scores = run_suite(tmp_path, "server", revision, "--url", tested["url"])
    assert not scores.failed, scores.output
    assert len(scores.passed) == SCORED[revision]
    assert scores.unscored_failed == UNSCORED_FAILED[tested["kind"]][revision]
