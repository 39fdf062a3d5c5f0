"""A hub with two servers behind it, several profiles, and a client for each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.running import Client, Hubs, stdio, write_servers, write_settings

SETTINGS = """
[surface]
pinned = ["files.extra_0007"]

[profiles.reader]
tools = ["files.*", "hub.*", "tools.*"]
deny = ["files.extra_*", "files.big"]

[profiles.all-but-files]
tools = ["*"]
deny = ["files.*", "letters.*"]

[profiles.bare]
tools = ["files.echo"]
tool_names = "bare"

[profiles.search]
mode = "search"
pinned = ["notes.echo"]

[profiles.search-files]
mode = "search"
tools = ["files.*", "tools.*"]

[profiles.auto]
mode = "auto"

[profiles.one-server]
tools = ["notes.echo", "tools.call"]
"""

TURNCOAT = Path(__file__).parents[1] / "changes" / "turncoat.py"

Attach = Callable[..., Client]


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hubs]:
    home: Path = tmp_path_factory.mktemp("surface") / "home"
    write_settings(home, SETTINGS)
    curated = {
        "allow": ["echo", "secret", "extra_*"],
        "deny": ["secret", "extra_000[0-4]"],
        "rename": {"extra_0005": "five"},
        "describe": {"extra_0005": "The fifth, in other words."},
    }
    says = home / "letters.json"
    says.write_text(json.dumps({"tools": [], "prompts": [{"name": "greet"}]}))
    write_servers(
        home,
        {
            "files": stdio("echo.py", "--tools", 10),
            "notes": stdio("echo.py"),
            "curated": stdio("echo.py", "--tools", 10, tools=curated),
            "listed": stdio("echo.py", tools=["echo"]),
            "letters": {"command": sys.executable, "args": [str(TURNCOAT), str(says)]},
            "wrong": stdio("echo.py", tools={"alow": ["echo"]}),
        },
    )
    made = Hubs(home)
    yield made
    made.end()


@pytest.fixture
def attach(hubs: Hubs) -> Attach:
    """Gives a client of a profile; it is opened, and every server is ready."""

    def client(profile: str | None = None) -> Client:
        attached = hubs.attach(*(() if profile is None else ("--profile", profile)))
        attached.open()
        return attached

    first = client()
    for name in ("files", "notes", "curated", "listed", "letters"):
        first.wait_for_state(name, "ready")
    return client
