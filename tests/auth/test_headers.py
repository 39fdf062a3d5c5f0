"""What of a client's own HTTP request reaches the servers behind the hub: nothing but the message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.requests import ACCEPT, call, messages, modern_headers, modern_request, open_session
from tests.hub.running import Hubs, Json, Served, http_server, until, write_servers

OWN = {
    "x-api-key": "the client's own",
    "cookie": "session=the-clients-own",
    "x-forwarded-for": "192.0.2.7",
    "x-anything": "the client's own",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home: Path = tmp_path_factory.mktemp("headers") / "home"
    with http_server("sdk.py", "--http", 0) as port:
        url = f"http://127.0.0.1:{port}"
        write_servers(
            home,
            {
                "new": {"url": f"{url}/mcp"},
                "old": {"url": f"{url}/sse"},
                "keyed": {"url": f"{url}/mcp", "headers": {"Authorization": "Bearer of-the-entry"}},
            },
        )
        hub = Served(home)
        try:
            session = open_session(hub)
            until(
                lambda: all("headers" in seen(hub, session, name) for name in ("new", "old", "keyed")),
                "tools",
            )
            yield hub
        finally:
            hub.stop()
            Hubs(home).end()


def seen(served: Served, session: dict[str, str], server: str) -> Json:
    """What a legacy client's call gives; the structured result is the headers that reached the server."""
    response = served.http.post("/mcp", json=call(f"{server}.headers"), headers=session | OWN)
    structured: Json = messages(response)[-1].get("result", {}).get("structuredContent", {})
    return structured


def check(headers: dict[str, str], served: Served, authorization: str | None) -> None:
    assert served.key is not None
    assert headers.get("authorization") == authorization
    for name, value in OWN.items():
        assert name not in headers
        assert value not in headers.values()
    assert served.key not in str(headers)


@pytest.mark.parametrize("server", ["new", "old", "keyed"])
def test_a_callers_own_headers_reach_no_server(served: Served, server: str) -> None:
    entry = "Bearer of-the-entry" if server == "keyed" else None
    session = open_session(served)
    headers = seen(served, session, server)["headers"]
    if server != "old":  # over SSE the message arrives by the stream's own request
        assert headers
    check(headers, served, entry)
    message = modern_request("tools/call", {"name": f"{server}.headers", "arguments": {}})
    response = served.http.post("/mcp", json=message, headers=ACCEPT | modern_headers(message) | OWN)
    check(messages(response)[-1]["result"]["structuredContent"]["headers"], served, entry)
