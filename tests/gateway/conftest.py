"""One hub with its HTTP faces, a legacy and a modern server behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.requests import Modern, open_session
from tests.hub.running import Hubs, Served, stdio, until, write_servers, write_settings

SETTINGS = """
[http]
body_bytes_max = 100_000
drain_s = 1.0
"""


@pytest.fixture(scope="session")
def gateway_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="session")
def served(gateway_home: Path) -> Iterator[Served]:
    home = gateway_home
    write_settings(home, SETTINGS)
    write_servers(
        home,
        {
            "old": stdio("echo.py", "--journal", home / "old.jsonl"),
            "new": stdio("modern.py", "--journal", home / "new.jsonl"),
        },
    )
    hub = Served(home)
    try:
        modern = Modern(hub)
        until(lambda: {"old.echo", "new.echo"} <= modern.names(), "the tools")
        yield hub
    finally:
        hub.stop()
        Hubs(home).end()


@pytest.fixture
def modern(served: Served) -> Modern:
    return Modern(served)


@pytest.fixture
def session(served: Served) -> dict[str, str]:
    """The headers of a legacy session that is open."""
    return open_session(served)
