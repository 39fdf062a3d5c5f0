"""Who may speak to the HTTP faces, and how much."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.gateway.requests import ACCEPT, Modern, modern_headers, modern_request, request
from tests.hub.running import Hubs, Served, environment, stdio, write_servers

LIST = modern_request("tools/list")
PATHS = ["/mcp", "/sse", "/messages/", "/message", "/nothing/here", "/"]


def anonymous(served: Served) -> httpx.Client:
    """A client without the key."""
    return httpx.Client(base_url=served.url, timeout=30, trust_env=False)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_wants_the_key(served: Served, path: str) -> None:
    with anonymous(served) as http:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {served.key}"}):
            response = http.get(path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.headers["content-type"] == "application/problem+json"


def test_health_wants_no_key_and_tells_nothing_of_the_hub(served: Served) -> None:
    with anonymous(served) as http:
        response = http.get("/health")
        assert response.status_code == 200
        assert set(response.json()) == {"status", "version"}


def test_the_key_may_stand_in_either_header(served: Served) -> None:
    with anonymous(served) as http:
        for headers in ({"authorization": f"bearer {served.key}"}, {"x-api-key": served.key or ""}):
            assert http.post("/mcp", json=LIST, headers=modern_headers(LIST) | headers).status_code == 200


def test_the_key_is_for_its_owner_alone_and_stays_the_same(served: Served) -> None:
    file = served.home / "http.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert served.key is not None
    assert len(served.key) >= 32


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
@pytest.mark.parametrize("path", ["/mcp", "/health"])
def test_a_foreign_host_is_refused_before_anything_else(served: Served, host: str, path: str) -> None:
    response = served.http.get(path, headers={"host": host})
    assert response.status_code == 421
    assert "allowed_hosts" in response.json()["detail"]


def test_every_name_of_loopback_is_ours(served: Served) -> None:
    for host in ("localhost", "127.0.0.1:1", "[::1]:99", "LOCALHOST:8787"):
        assert served.http.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"]
)
def test_a_foreign_origin_is_refused(served: Served, origin: str) -> None:
    response = served.http.post("/mcp", json=LIST, headers=modern_headers(LIST) | {"origin": origin})
    assert response.status_code == 403


def test_our_own_origin_may_call(served: Served) -> None:
    headers = modern_headers(LIST) | {"origin": served.url}
    assert served.http.post("/mcp", json=LIST, headers=headers).status_code == 200


def test_a_request_without_a_host_or_with_garbage_for_one_is_refused(served: Served) -> None:
    port = int(served.url.rpartition(":")[2])
    for head in (
        b"GET /mcp HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"\x16\x03\x01 tls?\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head)
            status_line = connection.recv(200).split(b"\r\n")[0]
        assert status_line.split()[1] in (b"421", b"400"), head


@pytest.mark.parametrize("path", ["/mcp", "/message"])
def test_a_body_over_the_bound_is_refused_declared_or_not(served: Served, path: str) -> None:
    body = b'{"x": "' + b"y" * 100_000 + b'"}'
    headers = ACCEPT | {"content-type": "application/json"}
    declared = served.http.post(path, content=body, headers=headers)
    undeclared = served.http.post(path, content=iter([body]), headers=headers)
    assert (declared.status_code, undeclared.status_code) == (413, 413)
    assert "http.body_bytes_max" in declared.text


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(served: Served, modern: Modern) -> None:
    port = int(served.url.rpartition(":")[2])
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n" + '{"half'
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head.encode())
    assert modern.call("old.echo", text="x")["structuredContent"] == {"text": "x"}


def test_an_address_that_others_reach_is_refused_without_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hub", "serve", "--home", str(tmp_path), "--port", "0"]
    for address in ("0.0.0.0", "::", "192.0.2.1"):
        done = subprocess.run(
            [*command, "--host", address, "--no-auth"],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        assert "needs the key" in done.stderr


def test_without_auth_it_is_said_aloud_and_hosts_are_still_checked(tmp_path: Path) -> None:
    write_servers(tmp_path, {"echo": stdio("echo.py")})
    served = Served(tmp_path, "--no-auth")
    try:
        assert "No key is asked for" in served.said
        assert not (tmp_path / "http.key").exists()
        assert "hub.status" in Modern(served).names()
        assert served.http.get("/health", headers={"host": "evil.example"}).status_code == 421
        hello = request("ping")
        response = served.http.post("/mcp", json=hello, headers=ACCEPT | {"origin": "https://evil.example"})
        assert response.status_code == 403
        assert served.stop() == 0
    finally:
        served.release()
        Hubs(tmp_path).end()


def test_what_serve_prints_can_be_pasted_into_a_client(served: Served) -> None:
    import json

    begin = served.said.index("{")
    entry = json.JSONDecoder().raw_decode(served.said[begin:])[0]["mcpServers"]["hub"]
    assert entry["type"] == "http"
    response = httpx.post(
        entry["url"], json=LIST, headers=modern_headers(LIST) | entry["headers"], timeout=30, trust_env=False
    )
    assert response.status_code == 200
