"""One downstream server under supervision.

One task owns the server's connection from start to end: it opens it, keeps the
lists fresh while it lasts, and opens it again, with growing waits, when it ends.
Nothing else ever waits for the server except the calls that go to it; its lists are
answered from the catalog.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from hub.calls import Call, Json, LogLevel
from hub.catalog import Catalog, ServerRecord
from hub.downstream.handshake import Era, NoCommonVersion
from hub.downstream.lane import Lane
from hub.downstream.links import Link
from hub.downstream.opening import OpenLink, describe
from hub.downstream.questions import askable
from hub.downstream.session import Session
from hub.errors import DownstreamError, DownstreamLost, DownstreamTimeout, DownstreamUnavailable, RpcError
from hub.jsonrpc import NoAnswer, PeerClosed, PeerTimeout
from hub.protocol import LIST_KEYS, MODERN_VERSIONS
from hub.server_entry import ServerEntry
from hub.settings import DownstreamSettings

log = logging.getLogger(__name__)

State = Literal["idle", "connecting", "ready", "down", "needs_login", "disabled", "stopped"]

BREAKER_FAILURES = 3
"""After so many failed starts in a row, calls no longer wait for the next one."""

OnChange = Callable[["DownstreamServer", frozenset[str]], None]
"""Told which list methods of a server now give something else; none where only its instructions do."""

OnUpdated = Callable[["DownstreamServer", str], None]
"""Told the URI of a subscribed resource that has changed."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How a server is doing, for people and programs.

    Attributes:
        name: Its name.
        transport: `stdio`, `http` or `sse`.
        target: What is started or reached.
        state: What its supervisor is doing.
        problem: Why it is not ready, in words.
        version: The protocol revision it speaks, once known.
        tools: How many tools it is known to have.
        calls: How many calls went to it.
        failures: How many of them failed on the way.
        starts: How often it was connected or tried.
        in_flight: How many calls are running.
        pid: Its process, while it runs.
    """

    name: str
    transport: str
    target: str
    state: State
    problem: str | None
    version: str | None
    tools: int
    calls: int
    failures: int
    starts: int
    in_flight: int
    pid: int | None


class DownstreamServer:
    """A server of `mcp.json`, or a skills worker.

    Args:
        entry: Where and how to reach it.
        name: What it is called behind the hub.
        open_link: Opens a connection to it.
        settings: Deadlines and bounds.
        catalog: Keeps what is known of it.
        on_change: Told when its lists change.
        on_updated: Told when a resource that is subscribed to changes.
        rng: For the jitter of reconnects.
        lazy: Start it only when it is called, once its lists are known.
    """

    def __init__(
        self,
        entry: ServerEntry,
        *,
        name: str,
        open_link: OpenLink,
        settings: DownstreamSettings,
        catalog: Catalog,
        on_change: OnChange,
        on_updated: OnUpdated,
        rng: random.Random,
        lazy: bool = False,
    ) -> None:
        self.entry = entry
        self.name = name
        self.settled = asyncio.Event()
        """Set once its lists are known, or known to be out of reach."""
        self._open_link = open_link
        self._settings = settings
        self._catalog = catalog
        self._on_change = on_change
        self._on_updated = on_updated
        self._rng = rng
        self._lazy = lazy
        known = catalog.get(name, entry.fingerprint)
        self._record = known or ServerRecord(entry.fingerprint)
        if known is not None:
            self.settled.set()
        else:
            # Only the first start ever waits for a server, even for one that never answers.
            catalog.put(name, self._record)
        self.state: State = "disabled" if entry.disabled else "idle"
        self._problem: str | None = None
        self._link: Link | None = None
        self._session: Session | None = None
        self._wanted = asyncio.Event()
        self._attempt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stale: dict[str, Session | None] = {}
        self._stale_event = asyncio.Event()
        self._announced: set[str] = set()
        self._refuses_discover = False
        self._lane_failed = False
        self._turn_to: Era | None = None
        self._turning = asyncio.Event()
        self._lane = Lane(name, self._open_lane, self._listen)
        self._uris: set[str] = set()
        self._uris_changed = asyncio.Event()
        self._log_level: LogLevel | None = None
        self._failed_starts = 0
        self._starts = 0
        self._calls = 0
        self._failures = 0
        self._last_used = 0.0
        self._ready_at = 0.0

    # -- what others ask of it

    def items(self, method: str) -> list[Json]:
        """The items of a list as last seen, in the server's order; never waits."""
        return self._record.lists.get(method, []) if self.state != "disabled" else []

    @property
    def absence(self) -> str | None:
        """Why its tools are not known, in words that follow its name; None when they are."""
        if self.state == "disabled":
            return "is disabled in mcp.json"
        if self._record.lists:
            return None
        return f"is not connected: {self._problem or 'it is still starting'}"

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """Its capabilities as last known; none while it is disabled."""
        return {} if self.state == "disabled" else self._record.capabilities

    @property
    def record(self) -> ServerRecord:
        """What is known of the server."""
        return self._record

    @property
    def modern(self) -> bool:
        """Whether it spoke the modern era when last connected."""
        return self._record.version in MODERN_VERSIONS

    async def request(self, call: Call, method: str, params: Json) -> Json:
        """Forward a request and return the server's result unchanged.

        Raises:
            RpcError: The server's own error, unchanged.
            DownstreamUnavailable: It is not connected; says why.
            DownstreamTimeout: It took too long; it was told to stop.
            DownstreamLost: It went away while it worked on the call.
            Busy: Too many calls are in flight to it.
        """
        self._calls += 1
        try:
            for retry in (False, True):
                session = await self._session_for(call)
                try:
                    return await session.forward(call, method, params)
                except PeerClosed as closed:
                    if closed.sent:
                        raise DownstreamLost(
                            self.name,
                            f"it went away during {method}, which may or may not have run ({closed})",
                        ) from None
                    if retry:
                        raise DownstreamUnavailable(self.name, str(closed)) from None
                    # The request provably never left, so it is safe to send it again.
                    self._lose_session(session)
            raise AssertionError("unreachable")
        except NoAnswer as error:
            self._failures += 1
            raise DownstreamError(self.name, str(error)) from None
        except PeerTimeout as timeout:
            self._failures += 1
            told = "; it was told to stop" if timeout.sent else ""
            raise DownstreamTimeout(self.name, f"{timeout}{told}") from None
        except DownstreamError:
            self._failures += 1
            raise
        finally:
            self._last_used = asyncio.get_running_loop().time()

    async def _session_for(self, call: Call) -> Session:
        """The conversation for a call: one of its caller's era, where the server speaks both and it matters.

        Raises:
            DownstreamUnavailable: There is none, and none is to be expected now.
        """
        session = self._session or await self._ready()
        era: Era = "modern" if call.modern else "legacy"
        both_eras = self._record.both_eras
        if session.handshake.era == era or both_eras is False or self._lane_failed:
            return session
        # A server that was found to be legacy was asked first whether it is modern.
        matters = both_eras is True if call.modern else askable(call)
        if not matters:
            return session
        if not session.served:
            # Nobody has used it yet: rather turn to the other era than have two processes.
            self._turn_to = era
            self._turning.set()
            self._lose_session(session)
            return await self._ready()
        try:
            return await self._lane.session()
        except _FAILURES as error:
            log.info("a server takes no second conversation", extra={"server": self.name, "why": str(error)})
            self._lane_failed = True
            if isinstance(error, RpcError | NoCommonVersion):
                self._note_eras(both=False)  # it said so; anything else may pass
            return session

    async def connect(self) -> None:
        """Make sure that it is connected.

        Raises:
            DownstreamUnavailable: It cannot be; says why.
        """
        if self._session is None:
            await self._ready()

    async def reconnect(self) -> None:
        """Connect to it anew, because what it is shown of the hub is another now.

        Raises:
            DownstreamUnavailable: It cannot be; says why.
        """
        self._session = None
        self._failed_starts = 0
        if self._link is not None or self.state == "needs_login":
            self.state = "connecting"
            self._turning.set()
        await self._attempted()

    def status(self) -> ServerStatus:
        """How it is doing."""
        pid = getattr(self._link, "pid", None)
        return ServerStatus(
            name=self.name,
            transport=self.entry.transport,
            target=describe(self.entry),
            state="needs_login" if self.needs_login else self.state,
            problem=self._login_advice if self.needs_login else self._problem,
            version=self._record.version,
            tools=len(self._record.lists.get("tools/list", ())),
            calls=self._calls,
            failures=self._failures,
            starts=self._starts,
            in_flight=sum(len(session.calls) for session in self._sessions),
            pid=pid,
        )

    def refresh(self, methods: tuple[str, ...] = tuple(LIST_KEYS)) -> None:
        """Fetch lists again, in the background."""
        self._stale.update(dict.fromkeys(methods))
        self._stale_event.set()

    async def subscribe(self, uri: str) -> None:
        """Ask for the updates of a resource, now and after every reconnect.

        Raises:
            RpcError: The server refuses.
            DownstreamUnavailable, DownstreamTimeout: It cannot be asked.
        """
        session = self._session or await self._ready()
        for each in {session, *self._sessions}:
            if not each.handshake.modern:
                await self._tell(each, "resources/subscribe", {"uri": uri})
        self._uris.add(uri)
        self._uris_changed.set()

    async def unsubscribe(self, uri: str) -> None:
        """Ask for the updates of a resource no longer.

        Raises:
            RpcError, DownstreamUnavailable, DownstreamTimeout: A legacy server could not be told.
        """
        self._uris.discard(uri)
        self._uris_changed.set()
        for session in self._sessions:
            if not session.handshake.modern:
                await self._tell(session, "resources/unsubscribe", {"uri": uri})

    async def set_log_level(self, level: LogLevel) -> None:
        """Tell a legacy server which log messages are wanted, now and after every reconnect.

        Raises:
            RpcError, DownstreamUnavailable, DownstreamTimeout: It could not be told.
        """
        self._log_level = level
        for session in self._sessions:
            if _logs(session):
                await self._tell(session, "logging/setLevel", {"level": level})

    def notify(self, method: str, params: Json | None = None) -> None:
        """Send a legacy server a notification, if it is connected."""
        for session in self._sessions:
            if not session.handshake.modern:
                session.notify(method, params)

    @property
    def _sessions(self) -> list[Session]:
        """The conversations that are open."""
        return [session for session in (self._session, self._lane.open) if session is not None]

    async def _tell(self, session: Session, method: str, params: Json) -> None:
        try:
            await session.tell(method, params)
        except PeerTimeout as timeout:
            raise DownstreamTimeout(self.name, str(timeout)) from None
        except PeerClosed as closed:
            raise DownstreamUnavailable(self.name, str(closed)) from None

    async def _ready(self) -> Session:
        """A session, waiting for the attempt under way or for one more.

        Raises:
            DownstreamUnavailable: There is none, and none is to be expected now.
        """
        if self.state == "disabled":
            raise DownstreamUnavailable(self.name, "it is disabled in mcp.json")
        if self.state == "stopped":
            raise DownstreamUnavailable(self.name, "the hub is stopping, or its entry was removed")
        broken = self.state == "down" and self._failed_starts >= BREAKER_FAILURES
        if broken or self.needs_login:
            raise self._unavailable()
        return await self._attempted()

    async def _attempted(self) -> Session:
        """The session that the attempt under way, or the next one, comes to.

        Raises:
            DownstreamUnavailable: It failed.
        """
        self._wanted.set()
        await asyncio.wait([self._attempt], timeout=self._settings.connect_deadline_s)
        if self._session is None:
            raise self._unavailable()
        return self._session

    @property
    def needs_login(self) -> bool:
        """Whether a person must log in at the server, which may still be finishing earlier calls."""
        return self.state == "needs_login" or (self._link is not None and self._link.needs_login)

    @property
    def _login_advice(self) -> str:
        return f"it needs a login: run `hub servers login {self.name}`"

    def _unavailable(self) -> DownstreamUnavailable:
        if self.needs_login:
            return DownstreamUnavailable(self.name, self._login_advice, state="needs_login")
        problem = self._problem or "it is still starting"
        return DownstreamUnavailable(self.name, f"it is not connected: {problem}", state=self.state)

    # -- supervision

    async def run(self) -> None:
        """Supervise the server until cancelled; the only task that opens or closes its connection."""
        if self.state == "disabled":
            self.settled.set()
            return
        try:
            while True:
                if self._lazy and self._record.lists:
                    self.state = "idle"
                    await self._wanted.wait()
                self._wanted.clear()
                if await self._connect_and_stay():
                    continue
                if self.state == "needs_login":
                    self.settled.set()
                    await self._turning.wait()  # asking again would be refused again
                    continue
                await self._back_off()
        finally:
            self.state = "stopped"
            self._finish_attempt()
            await asyncio.shield(asyncio.ensure_future(self._lane.aclose()))

    async def _connect_and_stay(self) -> bool:
        """One connection from start to end; returns whether its end was meant to be."""
        self.state = "connecting"
        self._starts += 1
        session = self._new_session()
        try:
            try:
                async with asyncio.timeout(self._settings.connect_deadline_s):
                    link = self._link = await self._open(session)
            except TimeoutError:
                raise PeerTimeout(
                    f"it did not shake hands within {self._settings.connect_deadline_s:g} s"
                ) from None
            return await self._stay(session, link)
        except _FAILURES as error:
            await self._note_failure(error)
            return False
        except Exception as error:
            # A bug met with one server must not end its supervision for good.
            log.exception("a supervisor met a bug", extra={"server": self.name})
            await self._note_failure(error)
            return False
        finally:
            self._lose_session(session)
            if self._link is not None:
                link, self._link = self._link, None
                # Also when the hub is stopping: a child is not left behind because its end took time.
                await asyncio.shield(asyncio.ensure_future(link.aclose()))

    def _new_session(self) -> Session:
        session = Session(
            self.name,
            self._settings,
            lambda: self.entry.timeout_s or self._settings.call_idle_deadline_s,
            lambda methods: self._take_announcement(methods, session),
            lambda uri: self._on_updated(self, uri),
        )
        return session

    async def _open(self, session: Session) -> Link:
        """Open a link and shake hands, in the era that is known, or asked for; else in the other one.

        Some servers exit on the probe of the modern era: those are started again in the legacy one.
        """
        known: Era | None = None
        if self._record.version is not None:
            known = "modern" if self.modern else "legacy"
        turn_to, self._turn_to = self._turn_to, None
        self._turning.clear()
        attempts: tuple[Era | None, ...] = (known, "legacy")
        if self._refuses_discover:
            attempts = ("legacy",)
        elif turn_to is not None:
            attempts = (turn_to, known)
        for number, attempt in enumerate(attempts, 1):
            link = await self._open_link(self.entry, session)
            self._link = link
            try:
                await session.open(link, attempt)
            except (PeerClosed, RpcError) as error:
                if number == len(attempts) or (isinstance(error, RpcError) and turn_to is None):
                    raise
                if link.needs_login:
                    raise  # it would want one in the other era too
                log.info(
                    "the server ended when it was probed", extra={"server": self.name, "reason": str(error)}
                )
                await link.aclose()
                if turn_to is None:
                    self._refuses_discover = True
                else:
                    self._note_eras(both=False)
            else:
                if turn_to is not None:
                    self._note_eras(both=session.handshake.era == turn_to)
                return link
        raise AssertionError("unreachable")

    async def _open_lane(self) -> tuple[Session, Link]:
        """Open a conversation of the era that the first one is not of.

        Raises:
            OSError, RpcError, PeerTimeout, PeerClosed, NoCommonVersion: There is none to be had.
        """
        era: Era = "legacy" if self.modern else "modern"
        session = self._new_session()
        try:
            async with asyncio.timeout(self._settings.connect_deadline_s):
                link = await self._open_link(self.entry, session)
                try:
                    await session.open(link, era)
                    if session.handshake.era != era:
                        raise NoCommonVersion(f"it does not speak the {era} era")
                except BaseException:
                    await asyncio.shield(asyncio.ensure_future(link.aclose()))
                    raise
        except TimeoutError:
            raise PeerTimeout(f"no handshake within {self._settings.connect_deadline_s:g} s") from None
        link.use_tools(self.items("tools/list"))
        self._note_eras(both=True)
        return session, link

    def _note_eras(self, *, both: bool) -> None:
        self._record = replace(self._record, both_eras=both)
        self._catalog.put(self.name, self._record)

    async def _stay(self, session: Session, link: Link) -> bool:
        """Serve calls until the connection ends; returns whether that was meant to be."""
        await self._fetch_lists(session, tuple(LIST_KEYS))
        link.use_tools(self.items("tools/list"))
        self._session = session
        self.state = "ready"
        self._problem = None
        self._ready_at = self._last_used = asyncio.get_running_loop().time()
        self._lane_failed = False
        self._finish_attempt()
        self.settled.set()
        log.info("a server is ready", extra={"server": self.name, "version": session.handshake.version})
        helpers = [
            asyncio.ensure_future(self._keep_lists(session, link)),
            asyncio.ensure_future(self._listen(session)),
        ]
        try:
            return await self._wait_for_end(session, link)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _wait_for_end(self, session: Session, link: Link) -> bool:
        idle_s = self.entry.idle_timeout_s or None
        loop = asyncio.get_running_loop()
        closed = asyncio.ensure_future(link.peer.wait_closed())
        turning = asyncio.ensure_future(self._turning.wait())
        try:
            while True:
                left_s = None if idle_s is None else max(0.0, self._last_used + idle_s - loop.time())
                if left_s == 0.0 and session.calls:
                    left_s = idle_s
                waits: set[asyncio.Future[Any]] = {closed, turning}
                await asyncio.wait(waits, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if turning.done():
                    return True
                if closed.done():
                    raise PeerClosed(closed.result(), sent=True)
                if idle_s is not None and not session.calls and self._last_used + idle_s <= loop.time():
                    log.info("an idle server is stopped", extra={"server": self.name})
                    self._lazy = True
                    return True
        finally:
            closed.cancel()
            turning.cancel()

    async def _keep_lists(self, session: Session, link: Link) -> None:
        while True:
            await self._stale_event.wait()
            self._stale_event.clear()
            stale, self._stale = self._stale, {}
            try:
                for announcer in set(stale.values()):
                    methods = tuple(method for method, by in stale.items() if by is announcer)
                    source = session if announcer is None or announcer.closed else announcer
                    await self._fetch_lists(session, methods, source)
                for each in (link, self._lane.link):
                    if each is not None:
                        each.use_tools(self.items("tools/list"))
            except (RpcError, PeerTimeout, DownstreamError) as error:
                log.warning("a list could not be refreshed", extra={"server": self.name, "error": str(error)})
            except PeerClosed as closed:
                if session.closed:
                    return
                log.warning(
                    "a list could not be refreshed", extra={"server": self.name, "error": str(closed)}
                )

    def _take_announcement(self, methods: tuple[str, ...], session: Session) -> None:
        self._announced.update(methods)
        self._stale.update(dict.fromkeys(methods, session))
        self._stale_event.set()

    async def _fetch_lists(
        self, session: Session, methods: tuple[str, ...], source: Session | None = None
    ) -> None:
        """Fetch lists, keep them in the catalog, and tell of those that changed.

        Args:
            session: The first conversation, which says what the server is.
            methods: Which lists.
            source: The conversation to ask; the first one when None.
        """
        lists = dict(self._record.lists)
        for method in methods:
            lists[method] = await (source or session).fetch(method)
        changed = {method for method in methods if lists[method] != self._record.lists.get(method, [])}
        # What a server announces is passed on, even where its lists read the same again.
        changed |= self._announced.intersection(methods)
        self._announced -= changed
        handshake = session.handshake
        record = ServerRecord(
            fingerprint=self.entry.fingerprint,
            version=handshake.version,
            capabilities=handshake.capabilities,
            server_info=handshake.server_info,
            instructions=handshake.instructions,
            lists=lists,
            both_eras=self._record.both_eras,
        )
        learned = record != self._record
        if learned:
            self._record = record
            self._catalog.put(self.name, record)
        if changed or learned:
            self._on_change(self, frozenset(changed))

    async def _listen(self, session: Session) -> None:
        """Have the server announce its changes: with a stream in the modern era, else as it was asked."""
        try:
            if not session.handshake.modern:
                if self._log_level is not None and _logs(session):
                    await session.tell("logging/setLevel", {"level": self._log_level})
                for uri in sorted(self._uris):
                    await session.tell("resources/subscribe", {"uri": uri})
                return
            while True:
                await self._listen_once(session)
        except (RpcError, PeerTimeout) as error:
            log.debug("the server announces no changes", extra={"server": self.name, "error": str(error)})
        except PeerClosed:
            return

    async def _listen_once(self, session: Session) -> None:
        """Keep one stream of changes, until other resources are wanted or some time after it ended.

        Raises:
            RpcError, PeerTimeout: The server has no such stream.
            PeerClosed: The conversation ended.
        """
        self._uris_changed.clear()
        listening = asyncio.ensure_future(session.listen(sorted(self._uris)))
        changing = asyncio.ensure_future(self._uris_changed.wait())
        try:
            await asyncio.wait({listening, changing}, return_when=asyncio.FIRST_COMPLETED)
            if changing.done():
                return
            try:
                ended = listening.result()
            except PeerClosed:
                if session.closed:
                    raise
                ended = True
            # With nothing to listen to, only another wish changes that.
            await asyncio.wait([changing], timeout=self._settings.backoff_max_s if ended else None)
            if ended:
                self.refresh()  # something may have changed unheard
        finally:
            listening.cancel()
            changing.cancel()
            await asyncio.gather(listening, changing, return_exceptions=True)

    def _lose_session(self, session: Session) -> None:
        if self._session is session:
            self._session = None

    async def _note_failure(self, error: Exception) -> None:
        problem = error.error.get("message") if isinstance(error, RpcError) else str(error)
        needs_login = self._link is not None and self._link.needs_login
        if needs_login:
            problem = self._login_advice
        elif isinstance(error, OSError):
            problem = _why_not_started(self.entry, error)
        elif self._link is not None and (details := await self._link.post_mortem()):
            problem = details if isinstance(error, PeerClosed) else f"{problem} ({details})"
        self._problem = str(problem)
        log.warning("a server is down", extra={"server": self.name, "problem": self._problem})
        was_ready = self.state == "ready"
        if was_ready and asyncio.get_running_loop().time() - self._ready_at > self._settings.backoff_max_s:
            self._failed_starts = 0
        self.state = "needs_login" if needs_login else "down"
        self._failed_starts += not needs_login
        if needs_login or not was_ready:
            self._finish_attempt()

    def _finish_attempt(self) -> None:
        """Wake whoever waits for the attempt under way, and begin to stand for the next one."""
        if not self._attempt.done():
            self._attempt.set_result(None)
        self._attempt = asyncio.get_running_loop().create_future()

    async def _back_off(self) -> None:
        """Wait before the next attempt; a call that needs the server ends the wait, within reason."""
        self.settled.set()
        doubled = self._settings.backoff_first_s * 2 ** min(self._failed_starts - 1, 16)
        wait_s = min(doubled, self._settings.backoff_max_s) * self._rng.uniform(0.75, 1.25)
        # A call may hurry the reconnect, but not so that each call starts a dying process.
        at_least_s = min(wait_s, self._settings.backoff_first_s)
        await asyncio.sleep(at_least_s)
        try:
            async with asyncio.timeout(wait_s - at_least_s):
                await self._wanted.wait()
        except TimeoutError:
            pass


_FAILURES = (OSError, RpcError, PeerTimeout, PeerClosed, NoCommonVersion, DownstreamError)
"""How a connection can fail without anybody having made a mistake in the hub."""


def _logs(session: Session) -> bool:
    return not session.handshake.modern and "logging" in session.handshake.capabilities


def _why_not_started(entry: ServerEntry, error: OSError) -> str:
    """Why the machine did not start an entry's program."""
    if entry.cwd is not None and not os.path.isdir(entry.cwd):
        return f"its folder {entry.cwd!r} does not exist: check `cwd` in mcp.json"
    if isinstance(error, FileNotFoundError):
        return f"{entry.command!r} was not found: check `command` in mcp.json and the PATH"
    return f"{entry.command!r} cannot be started: {error.strerror or error}"
