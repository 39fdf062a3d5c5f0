"""Logging in at servers that ask for it, and what the hub does with the login from then on."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from hub.clock import ManualClock
from hub.errors import DownstreamError, DownstreamUnavailable, InvalidArguments
from hub.home import Home
from tests.auth.conftest import Browser, RunHub, Start, call, state_of

pytestmark = pytest.mark.anyio


def form(entry: dict[str, str]) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(entry["body"]).items()}


async def test_a_server_that_asks_for_a_login_is_in_a_state_of_its_own(
    protected: Start, run_hub: RunHub
) -> None:
    server = protected()
    async with run_hub(it={"url": server.url}) as hub:
        row = await state_of(hub, "it", "needs_login")
        assert row["problem"] == "it needs a login: run `hub servers login it`"
        with pytest.raises(DownstreamUnavailable) as raised:
            await call_by_server(hub, "it")
        assert "hub servers login it" in raised.value.message
        assert raised.value.http_status == 503


async def test_a_server_that_asks_for_a_login_is_not_asked_again_and_again(
    protected: Start, run_hub: RunHub
) -> None:
    server = protected()
    async with run_hub(it={"url": server.url}) as hub:
        await state_of(hub, "it", "needs_login")
        asked = len(server.journal("/mcp"))
        assert asked == 1
        await asyncio.sleep(0.5)  # ten times the wait before a reconnect
        for _ in range(3):
            with pytest.raises(DownstreamUnavailable):
                await call_by_server(hub, "it")
        assert len(server.journal("/mcp")) == asked


@pytest.mark.parametrize("how", [[], ["--plain"]])
async def test_after_a_login_the_server_is_connected_and_is_shown_the_token(
    protected: Start, run_hub: RunHub, how: list[str]
) -> None:
    server, browser = protected(*how), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await state_of(hub, "it", "needs_login")
        answer = await hub.tending.log_in("it", browser)
        assert answer == {"name": "it", "ok": True, "tools": 4, "login": True}
        assert browser.pages[0].status_code == 200
        headers = (await call(hub, "it.headers"))["structuredContent"]["headers"]
        assert headers["authorization"].startswith("Bearer access-")
        asked = parse_qs(urlsplit(browser.visited[0]).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["resource"] == [server.url]
        assert asked["scope"] == ["tools"]
        assert urlsplit(asked["redirect_uri"][0]).hostname == "127.0.0.1"
        assert form(server.journal("/token")[0])["resource"] == server.url


async def test_a_login_outlives_the_hub_in_a_file_of_its_owner_alone(
    protected: Start, run_hub: RunHub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        file = hub.home.logins_file
    if sys.platform != "win32":
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    async with run_hub(it={"url": server.url}) as hub:
        await state_of(hub, "it", "ready")
    assert len(server.journal("/register")) == 1


async def test_a_token_is_renewed_before_it_ends_once_for_all_calls(
    protected: Start, run_hub: RunHub, clock: ManualClock
) -> None:
    server, browser = protected("--lifetime", 1000), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        server.meddle("slow")
        clock.advance(990)
        results = await asyncio.gather(*(call(hub, "it.headers") for _ in range(8)))
        sent = {result["structuredContent"]["headers"]["authorization"] for result in results}
        renewals = [form(entry) for entry in server.journal("/token")][1:]
        assert [renewal["grant_type"] for renewal in renewals] == ["refresh_token"]
        assert len(sent) == 1
        assert len(browser.visited) == 1
    async with run_hub(it={"url": server.url}) as hub:
        # The refresh token works once, so the next start needs the one that came with the renewal.
        clock.advance(990)
        await state_of(hub, "it", "ready")
        assert len(server.journal("/token")) == 3


async def test_a_token_that_a_server_refuses_early_is_renewed_and_the_call_sent_again(
    protected: Start, run_hub: RunHub
) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        server.meddle("expire")
        results = await asyncio.gather(*(call(hub, "it.echo", text="hi") for _ in range(4)))
        assert [result["structuredContent"]["text"] for result in results] == ["hi"] * 4
        assert len(server.journal("/token")) == 2


async def test_when_no_renewal_helps_any_more_the_server_needs_a_login_again(
    protected: Start, run_hub: RunHub
) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        server.meddle("revoke")
        with pytest.raises(DownstreamUnavailable) as raised:
            await call(hub, "it.echo", text="hi")
        assert "hub servers login it" in raised.value.message
        await state_of(hub, "it", "needs_login")
        # Its tools are still listed: the hub knows them, and says why it cannot call them.
        assert "it.echo" in [tool["name"] for tool in hub.router.tools()]
        await hub.tending.log_in("it", browser)
        assert (await call(hub, "it.echo", text="hi"))["structuredContent"]["text"] == "hi"
        assert len(server.journal("/register")) == 1


async def test_calls_that_a_server_has_begun_finish_although_it_wants_a_login_for_others(
    protected: Start, run_hub: RunHub
) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        asked = len(server.journal("/mcp"))
        slow = asyncio.ensure_future(call(hub, "it.slow", seconds=2))
        async with asyncio.timeout(10):
            while len(server.journal("/mcp")) == asked:  # noqa: ASYNC110 (another process writes it)
                await asyncio.sleep(0.02)
        server.meddle("revoke")
        for _ in range(2):
            with pytest.raises(DownstreamUnavailable, match="hub servers login it"):
                await call(hub, "it.echo", text="hi")
        await state_of(hub, "it", "needs_login")
        assert not slow.done()
        assert (await slow)["content"][0]["text"] == "done"
        assert (await hub.tending.log_in("it", browser))["ok"]


async def test_a_renewal_that_fails_for_now_costs_no_login(
    protected: Start, run_hub: RunHub, clock: ManualClock
) -> None:
    server, browser = protected("--lifetime", 1000), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        server.meddle("break")
        clock.advance(990)
        await call(hub, "it.echo", text="the token still holds")
        clock.advance(100)
        with pytest.raises(DownstreamError) as raised:
            await call(hub, "it.echo", text="now it does not")
        assert "503" in raised.value.message
        server.meddle("mend")
        assert (await call(hub, "it.echo", text="again"))["structuredContent"]["text"] == "again"
        assert len(browser.visited) == 1


async def test_without_a_refresh_token_the_end_of_the_token_is_the_end_of_the_login(
    protected: Start, run_hub: RunHub
) -> None:
    server, browser = protected("--no-refresh"), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        server.meddle("expire")
        with pytest.raises(DownstreamUnavailable):
            await call(hub, "it.echo", text="hi")
        await state_of(hub, "it", "needs_login")
        assert len(server.journal("/token")) == 1


async def test_a_call_that_the_login_does_not_permit_says_how_to_get_more(
    protected: Start, run_hub: RunHub
) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        with pytest.raises(DownstreamError, match="hub servers login it"):
            await call(hub, "it.big", bytes=10)
        assert (await call(hub, "it.echo", text="hi"))["structuredContent"]["text"] == "hi"
        await hub.tending.log_in("it", browser)
        assert parse_qs(urlsplit(browser.visited[1]).query)["scope"] == ["tools admin"]
        assert not (await call(hub, "it.big", bytes=10)).get("isError")


async def test_a_login_that_is_refused_says_so_and_leaves_the_server_as_it_was(
    protected: Start, run_hub: RunHub
) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await state_of(hub, "it", "needs_login")
        server.meddle("deny")
        with pytest.raises(DownstreamError, match="access_denied: the person said no"):
            await hub.tending.log_in("it", browser)
        await state_of(hub, "it", "needs_login")
        assert not hub.home.logins_file.exists()


async def test_only_the_return_of_this_login_is_taken(protected: Start, run_hub: RunHub) -> None:
    server = protected()
    async with run_hub(it={"url": server.url}) as hub:
        browser = Browser()
        strangers: list[int] = []

        async def interfere(url: str) -> None:
            back = parse_qs(urlsplit(url).query)["redirect_uri"][0]
            async with httpx.AsyncClient(trust_env=False) as http:
                for query in ("", "?code=x", "?code=x&state=y", "?error=access_denied&state="):
                    page = await http.get(back + query)
                    strangers.append(page.status_code)
            browser(url)

        tasks: list[asyncio.Task[None]] = []
        answer = await hub.tending.log_in(
            "it", lambda url: tasks.append(asyncio.ensure_future(interfere(url)))
        )
        assert answer["ok"]
        assert strangers == [400] * 4


async def test_a_client_that_gives_up_ends_its_login_and_frees_the_port(
    protected: Start, run_hub: RunHub
) -> None:
    server = protected()
    async with run_hub(it={"url": server.url}) as hub:
        sent = asyncio.Event()
        visited: list[str] = []

        def note(url: str) -> None:
            visited.append(url)
            sent.set()

        login = asyncio.ensure_future(hub.tending.log_in("it", note))
        await asyncio.wait_for(sent.wait(), 10)
        with pytest.raises(InvalidArguments, match="already"):
            await hub.tending.log_in("it", Browser())
        login.cancel()
        with pytest.raises(asyncio.CancelledError):
            await login
        back = urlsplit(parse_qs(urlsplit(visited[0]).query)["redirect_uri"][0])
        with pytest.raises(OSError):
            await asyncio.open_connection(back.hostname, back.port)
        assert (await hub.tending.log_in("it", Browser()))["ok"]


async def test_a_logout_forgets_the_login_and_disconnects(protected: Start, run_hub: RunHub) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        assert await hub.tending.log_out("it") == {"name": "it", "login": True}
        await state_of(hub, "it", "needs_login")
        assert "access-" not in hub.home.logins_file.read_text()
        assert await hub.tending.log_out("it") == {"name": "it", "login": False}


async def test_the_older_transport_with_sse_logs_in_alike(protected: Start, run_hub: RunHub) -> None:
    server, browser = protected("--sse"), Browser()
    async with run_hub(it={"url": f"{server.origin}/sse"}) as hub:
        await state_of(hub, "it", "needs_login")
        assert (await hub.tending.log_in("it", browser))["ok"]
        assert (await call(hub, "it.echo", text="hi"))["structuredContent"]["text"] == "hi"
        server.meddle("expire")
        assert (await call(hub, "it.echo", text="hi"))["structuredContent"]["text"] == "hi"
        server.meddle("revoke")
        with pytest.raises(DownstreamError):
            await call(hub, "it.echo", text="hi")
        await state_of(hub, "it", "needs_login")


async def test_a_client_registered_by_hand_is_used_where_a_server_registers_none(
    protected: Start, run_hub: RunHub, free_port: int
) -> None:
    server, browser = protected("--no-registration", "--callback-port", free_port), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        with pytest.raises(DownstreamError, match="clientId"):
            await hub.tending.log_in("it", browser)
    oauth = {"clientId": "by-hand", "clientSecret": "by-hand-secret", "callbackPort": free_port}
    async with run_hub(it={"url": server.url, "oauth": {**oauth, "scopes": "tools admin"}}) as hub:
        assert (await hub.tending.log_in("it", browser))["ok"]
        asked = parse_qs(urlsplit(browser.visited[-1]).query)
        assert asked["client_id"] == ["by-hand"]
        assert asked["scope"] == ["tools admin"]
        assert asked["redirect_uri"] == [f"http://localhost:{free_port}/callback"]
        server.meddle("expire")
        assert (await call(hub, "it.echo", text="hi"))["structuredContent"]["text"] == "hi"
        assert form(server.journal("/token")[-1])["client_secret"] == "by-hand-secret"


async def test_a_client_id_metadata_document_stands_in_for_registration(
    protected: Start, run_hub: RunHub
) -> None:
    server, browser = protected("--documents"), Browser()
    document = "https://hub.example/client.json"
    async with run_hub(it={"url": server.url, "oauth": {"clientMetadataUrl": document}}) as hub:
        assert (await hub.tending.log_in("it", browser))["ok"]
        assert parse_qs(urlsplit(browser.visited[0]).query)["client_id"] == [document]
        assert server.journal("/register") == []
        server.meddle("expire")
        assert (await call(hub, "it.echo", text="hi"))["structuredContent"]["text"] == "hi"


async def test_a_login_is_shown_to_no_other_url(protected: Start, run_hub: RunHub) -> None:
    server, other, browser = protected(), protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
    async with run_hub(it={"url": other.url}) as hub:
        await state_of(hub, "it", "needs_login")
    assert all("authorization" not in entry["headers"] for entry in other.journal())


async def test_headers_of_the_entry_take_precedence_over_a_login(protected: Start, run_hub: RunHub) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        headers = (await call(hub, "it.headers"))["structuredContent"]["headers"]
    by_hand = {"Authorization": headers["authorization"], "X-Own": "1"}
    async with run_hub(it={"url": server.url, "headers": by_hand}) as hub:
        await state_of(hub, "it", "ready")
        seen = (await call(hub, "it.headers"))["structuredContent"]["headers"]
        assert (seen["authorization"], seen["x-own"]) == (headers["authorization"], "1")
        with pytest.raises(InvalidArguments, match="Authorization header"):
            await hub.tending.log_in("it", browser)
    async with run_hub(it={"url": server.url, "headers": {"Authorization": "Bearer wrong"}}) as hub:
        row = await state_of(hub, "it", "down")
        assert "refuses the Authorization header of its entry" in row["problem"]


async def test_no_token_code_or_secret_shows_in_status_errors_or_the_log(
    protected: Start, run_hub: RunHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        server.meddle("expire")
        await call(hub, "it.echo", text="hi")
        shown = [repr(hub.status()), repr(hub.servers())]
        server.meddle("revoke")
        with pytest.raises(DownstreamError) as raised:
            await call(hub, "it.echo", text="hi")
        shown += [str(raised.value), repr(hub.status()), repr(await hub.tending.test("it"))]
    secrets = [
        value
        for entry in server.journal("/token")
        for key, value in form(entry).items()
        if key in ("code", "code_verifier", "refresh_token")
    ]
    text = "\n".join(
        [
            *shown,
            *(
                f"{record.getMessage()} {vars(record)}"
                for record in caplog.records
                if record.name.startswith(("hub", "mcp"))
            ),
        ]
    )
    assert len(secrets) >= 4
    assert all(secret not in text for secret in [*secrets, "access-"])


async def test_a_damaged_login_is_as_good_as_none(protected: Start, run_hub: RunHub) -> None:
    server, browser = protected(), Browser()
    async with run_hub(it={"url": server.url}) as hub:
        await hub.tending.log_in("it", browser)
        hub.home.logins_file.write_text('{"format": 1, "logins": {"it": {"url": 1}}}')
    async with run_hub(it={"url": server.url}) as hub:
        await state_of(hub, "it", "needs_login")
        hub.home.logins_file.write_text("{")
    async with run_hub(it={"url": server.url}) as hub:
        assert (await hub.tending.log_in("it", browser))["ok"]


async def test_a_server_that_wants_no_login_gets_none(run_hub: RunHub, open_server: str) -> None:
    async with run_hub(it={"url": open_server}, program={"command": sys.executable}) as hub:
        browser = Browser()
        answer = await hub.tending.log_in("it", browser)
        assert (answer["ok"], answer["login"], browser.visited) == (True, False, [])
        with pytest.raises(InvalidArguments, match="env"):
            await hub.tending.log_in("program", browser)


async def call_by_server(hub: object, name: str) -> None:
    """Send a server something although nothing is known of its tools."""
    from hub.app import Hub

    assert isinstance(hub, Hub)
    server = hub.router.server(name)
    assert server is not None
    from hub.calls import Call
    from tests.auth.conftest import PERSON

    await server.request(Call(PERSON, "tools/call", {"name": "echo"}), "tools/call", {"name": "echo"})


def test_the_home_names_the_file() -> None:
    assert Home.at("/x").logins_file.name == "logins.json"
