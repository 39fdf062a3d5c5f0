"""A client cannot tell the hub from the server behind it: the same script, direct and through the hub.

Four cells (the eras of client and server) and a server of both eras, over every transport on both sides.
What may differ is listed in `expected`, with the reason; `docs/conformance.md` says the same in words.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from tests.matrix.conftest import FRONTS, NAMES, Scene, run_script
from tests.matrix.conversation import Era, Observed, Person
from tests.matrix.script import SCRIPT

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

ERAS: tuple[Era, ...] = ("legacy", "modern")
CELLS = [
    pytest.param(front, era, server, id=f"{era} client over {front}, {server.replace('_', ' ')} server")
    for front in FRONTS
    for era in ERAS
    for server in NAMES
    if front != "sse" or era == "legacy"  # the modern era has no such transport
]

Directly = dict[str, dict[str, Observed]]


def expected(step: str, directly: Observed, client: Era, server: str) -> Observed:
    """What a step is to bring through the hub: the same as directly, but for what the eras do differently."""
    if server == client or server == "both":
        return directly
    answers: list[Any] = copy.deepcopy(directly.answers)
    for answer in answers:
        if "error" in answer and step == "read what its server does not have":
            # Errors pass as their server sent them, and the eras have a code each for this one.
            answer["error"]["code"] = -32602 if server == "modern" else -32002
        result = answer.get("result", {})
        if server == "legacy" and "cacheScope" in result:
            # A legacy server gives no hints, and the hub makes none up.
            result |= {"ttlMs": 0, "cacheScope": "private"}
        if server == "legacy" and step.startswith("structured"):
            # Only objects exist there, so the server wraps the rest.
            value = result["structuredContent"]
            result["structuredContent"] = value if isinstance(value, dict) else {"result": value}
    return Observed(directly.asked, directly.told, answers)


@pytest.mark.parametrize(("front", "era", "server"), CELLS)
def test_the_same_script_brings_the_same_through_the_hub(
    scene: Scene, directly: Directly, front: str, era: Era, server: str
) -> None:
    async def talk() -> dict[str, Observed]:
        async with scene.through_hub(front, era, server, Person()) as talker:
            if era == "legacy":
                await talker.client.set_logging_level("debug")
            observed: dict[str, Observed] = await run_script(talker)
            return observed

    observed = asyncio.run(talk())
    differing = {}
    for step in SCRIPT:
        wanted = expected(step, directly[era][step], era, server.split("_")[1])
        if observed[step] != wanted:
            differing[step] = f"\n  directly: {wanted}\n  through the hub: {observed[step]}"
    assert not differing, "".join(f"\n{step}:{how}" for step, how in differing.items())
