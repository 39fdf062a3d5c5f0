"""The fleet: the downstream servers of one hub, kept in step with `mcp.json` and the skills.

Each server is supervised by a task of the fleet. When the servers file changes,
only the servers whose entries changed are stopped or started; a file that has
become unreadable changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from hub import mcp_json, telemetry
from hub.auth import Logins, Vault
from hub.calls import LOG_LEVELS, Call, Json, LogLevel
from hub.catalog import Catalog
from hub.changes import Definitions, ReviewedServer
from hub.clock import Clock
from hub.curation import CuratedServer, ToolRules, tool_rules
from hub.downstream.opening import link_opener
from hub.downstream.process import Warden
from hub.downstream.server import DownstreamServer
from hub.errors import ConfigError, StorageError
from hub.home import Home
from hub.mcp_json import RESERVED_NAMES, Problem, ServersFile, public_names
from hub.place import PROJECT_FILE, base_of, is_approved
from hub.router import Server
from hub.server_entry import ServerEntry
from hub.settings import Settings
from hub.skills.discovery import Skill, discover, shipped_folder
from hub.skills.workers import worker_entries

log = logging.getLogger(__name__)

FILE_CHECK_S = 1.0
"""How often the servers file is looked at."""

CATALOG_SAVE_S = 0.5
"""How long changes of the catalog are gathered before they are written."""


class SkillServer:
    """One skill as a server of its own, although it may share its worker process.

    Args:
        name: The skill's name.
        prefix: What stands before the names of its tools on the worker's wire.
        worker: The process that runs it.
    """

    def __init__(self, name: str, prefix: str, worker: DownstreamServer) -> None:
        self.name = name
        self.worker = worker
        self.settled = worker.settled
        self._prefix = prefix

    @property
    def absence(self) -> str | None:
        return self.worker.absence

    @property
    def capabilities(self) -> Mapping[str, Any]:
        return {"tools": {}}

    def items(self, method: str) -> Sequence[Json]:
        if method != "tools/list":
            return ()
        return [
            {**tool, "name": tool["name"].removeprefix(self._prefix)}
            for tool in self.worker.items(method)
            if tool["name"].startswith(self._prefix)
        ]

    async def request(self, call: Call, method: str, params: Json) -> Json:
        return await self.worker.request(call, method, {**params, "name": self._prefix + params["name"]})

    async def subscribe(self, uri: str) -> None:
        await self.worker.subscribe(uri)

    async def unsubscribe(self, uri: str) -> None:
        await self.worker.unsubscribe(uri)


class Fleet:
    """All downstream servers of a hub.

    Args:
        home: Where the catalog, `.env` and the user's skills are.
        servers_file: The servers file.
        settings: The hub's settings.
        environ: The hub's own environment: the base of the children's.
        clock: Tells when logins end.
        rng: For the jitter of reconnects.
        on_change: Told which list methods now give something else; None when the set of
            servers is another.
        on_updated: Told the server and URI of a subscribed resource that has changed.
    """

    def __init__(
        self,
        home: Home,
        servers_file: Path,
        settings: Settings,
        environ: Mapping[str, str],
        clock: Clock,
        rng: random.Random,
        on_change: Callable[[frozenset[str] | None], None],
        on_updated: Callable[[str, str], None],
    ) -> None:
        self.servers_file = servers_file
        self._home = home
        self._settings = settings
        self._environ = environ
        self._rng = rng
        self._on_change = on_change
        self._on_updated = on_updated
        self._warden = Warden()
        vault = Vault(home.logins_file, settings.downstream.token_store)
        self.logins = Logins(vault, clock, settings.downstream.login_deadline_s)
        self._open_link = link_opener(
            settings.downstream,
            environ,
            self._warden,
            self.logins,
            message_bytes_max=settings.message_bytes_max,
        )
        self._dotenv: Mapping[str, str] = {}
        self._catalog = Catalog(home.catalog_file)
        self._downstreams: dict[str, DownstreamServer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._skill_servers: list[SkillServer] = []
        self._rules: dict[str, ToolRules] = {}
        self._definitions = Definitions(home.definitions_file)
        self._reviews: dict[str, ReviewedServer] = {}
        self._save_timer: asyncio.TimerHandle | None = None
        self._stamp: object = None
        # A project's file may start programs as it was approved; what it becomes must be approved again.
        base = base_of(home, environ)
        asked = servers_file.name == PROJECT_FILE and is_approved(base, servers_file)
        self._approvals = base if asked else None
        self._log_level: LogLevel | None = None
        self.skills: tuple[Skill, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the servers file."""
        self.skill_problems: tuple[object, ...] = ()
        """What is wrong with the skills."""

    # -- what others see

    @property
    def servers(self) -> list[Server]:
        """The servers for the router: those of the file in its order, then the skills."""
        workers = {skill_server.worker.name for skill_server in self._skill_servers}
        shown: list[Server] = []
        for name in self._downstreams:
            if name not in workers:
                review, rules = self._reviews[name], self._rules.get(name)
                shown.append(review if rules is None else CuratedServer(review, rules))
        return [*shown, *self._skill_servers]

    @property
    def downstreams(self) -> list[DownstreamServer]:
        """The servers of the file and the skills' workers."""
        return list(self._downstreams.values())

    def downstream(self, name: str) -> DownstreamServer | None:
        """One of them by its name."""
        return self._downstreams.get(name)

    def review(self, name: str) -> ReviewedServer | None:
        """What changed of a server of the file; None when there is none of that name."""
        return self._reviews.get(name)

    @property
    def holds_changed(self) -> bool:
        """Whether what changed is held back until it is approved."""
        return self._settings.downstream.hold_changed

    def approve(self, name: str, digest: str) -> None:
        """Trust what changed of a server.

        Args:
            name: The server.
            digest: Of the changes that somebody has looked at.

        Raises:
            InvalidArguments: The changes are others by now.
            StorageError: The approval cannot be kept.
        """
        lists = self._reviews[name].approve(digest)
        self._on_change(lists)
        try:
            self._definitions.save(set(self._reviews))
        except OSError as error:
            where = self._home.definitions_file
            raise StorageError(f"{where}: the approval cannot be kept: {error.strerror or error}") from None

    @property
    def instructions(self) -> list[tuple[str, str]]:
        """What the servers of the file tell models, each with its server's name."""
        reviews = [self._reviews[name] for name in self._downstreams if name in self._reviews]
        return [(review.name, said) for review in reviews if (said := review.instructions)]

    # -- what legacy clients change on their connections

    def ask_for_logs(self, level: LogLevel) -> None:
        """Have every legacy server send log messages from this level on, if any client wants them."""
        if self._log_level is None or LOG_LEVELS.index(level) < LOG_LEVELS.index(self._log_level):
            self._log_level = level
            for server in self._downstreams.values():
                task = asyncio.get_running_loop().create_task(server.set_log_level(level))
                task.add_done_callback(_note_refusal)

    def roots_changed(self) -> None:
        """Tell every legacy server that some client's roots are others now."""
        for server in self._downstreams.values():
            server.notify("notifications/roots/list_changed")

    # -- its life

    def load(self) -> None:
        """Read the skills and the servers file; starts nothing yet."""
        self._stamp = self._file_stamp()
        file = self._read()
        folders = [shipped_folder(), *self._settings.skills.folders, self._home.skills_folder]
        discovery = discover(folders, disabled=self._settings.skills.disabled)
        self.skills, self.skill_problems = discovery.skills, discovery.problems
        for problem in discovery.problems:
            log.warning("a skill has a problem", extra={"problem": str(problem)})
        for worker in worker_entries(discovery.skills, self._settings.skills, self.variables()):
            entry = ServerEntry(
                name=worker.name,
                key=worker.name,
                transport="stdio",
                command=worker.command,
                args=worker.args,
                cwd=str(worker.cwd),
                env=worker.env,
                timeout_s=worker.timeout_s,
                idle_timeout_s=worker.idle_stop_s,
            )
            server = self._add(entry, lazy=True)
            self._skill_servers += [
                SkillServer(skill, prefix, server) for skill, prefix in worker.prefixes.items()
            ]
        self._apply(file)

    async def run(self) -> None:
        """Supervise all servers, and follow the servers file, until cancelled."""
        try:
            self._start_all()
            while True:
                await asyncio.sleep(FILE_CHECK_S)
                stamp = self._file_stamp()
                if stamp != self._stamp:
                    self._stamp = stamp
                    await self.reload()
        finally:
            await self._stop(list(self._tasks))
            await self.logins.aclose()
            self._save_catalog()
            self._warden.close()

    async def reload(self) -> None:
        """Read the servers file again and take up what changed."""
        if self._approvals is not None and not is_approved(self._approvals, self.servers_file):
            problem = "it changed since it was approved; `hub servers list` in its folder shows it and asks"
            self.problems = (Problem(self.servers_file, None, None, problem),)
            return
        file = self._read()
        if file.state == "broken":
            self.problems = file.problems
            return
        stopped = self._apply(file)
        self._on_change(None)
        self._start_all()
        await self._stop([name for name in stopped if name in self._tasks])
        self._start_all()

    # -- inside

    def variables(self) -> dict[str, str]:
        """What `${VAR}` may refer to: the home's `.env` before the hub's own environment."""
        return {**self._environ, **self._dotenv}

    def _read_dotenv(self) -> list[Problem]:
        """Read `.env`; one that cannot be read leaves what it held before in force."""
        path = self._home.env_file
        try:
            read = dotenv_values(path)
        except UnicodeDecodeError:
            problem = "is not UTF-8 text"
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        else:
            self._dotenv = {name: value for name, value in read.items() if value is not None}
            return []
        return [Problem(path, None, None, f"{problem}; what it held before stays in force")]

    def _read(self) -> ServersFile:
        port = self._settings.http.port
        env_problems = self._read_dotenv()
        file = mcp_json.load(self.servers_file, self.variables(), http_port=port)
        if file.state == "missing" and self.servers_file == self._home.servers_file:
            file = replace(file, problems=())  # a fresh home has none yet, and nothing is wrong with that
        file = replace(file, problems=(*env_problems, *file.problems))
        telemetry.hide(secret for entry in file.entries for secret in entry.secrets)
        for problem in file.problems:
            level = logging.ERROR if problem.level == "error" else logging.WARNING
            log.log(level, "mcp.json has a problem", extra={"problem": str(problem)})
        return file

    def _file_stamp(self) -> object:
        """Changes whenever the servers file, `.env` or an approval does."""
        stamps: list[tuple[int, int, int] | None] = []
        approvals = [self._approvals.approvals_file] if self._approvals is not None else []
        for path in (self.servers_file, self._home.env_file, *approvals):
            try:
                stat = os.stat(path)
                stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
            except OSError:
                stamps.append(None)
        return stamps

    def _apply(self, file: ServersFile) -> list[str]:
        """Make the set of servers match the file; returns the names whose tasks must stop."""
        self.problems = file.problems
        workers = {server.worker.name for server in self._skill_servers}
        reserved = RESERVED_NAMES | {server.name for server in self._skill_servers} | workers
        shown = public_names([entry.name for entry in file.entries], reserved)
        wanted: dict[str, ServerEntry] = {}
        self._rules = {}
        for entry in file.entries:
            try:
                rules = tool_rules(entry.key, entry.extra)
            except ConfigError as error:
                # Better no server than one that shows what its owner meant to hide.
                problem = Problem(file.path, entry.key, "tools", error.message)
                self.problems = (*self.problems, problem)
                continue
            wanted[shown[entry.name]] = entry
            if rules is not None:
                self._rules[shown[entry.name]] = rules
        stopped = []
        for name, server in list(self._downstreams.items()):
            if name in workers:
                continue
            now = wanted.get(name)
            if (
                now is None
                or now.fingerprint != server.entry.fingerprint
                or now.disabled != server.entry.disabled
                or now.idle_timeout_s != server.entry.idle_timeout_s
            ):
                stopped.append(name)
                del self._downstreams[name]
                del self._reviews[name]
        kept = self._downstreams
        self._downstreams = {name: server for name, server in kept.items() if name in workers}
        for name, entry in wanted.items():
            if name in kept:
                self._downstreams[name] = kept[name]
                kept[name].entry = entry
            else:
                server = self._add(entry, name=name, lazy=bool(entry.idle_timeout_s))
                self._reviews[name] = ReviewedServer(server, self._definitions, hold=self.holds_changed)
        self._catalog.keep_only(set(self._downstreams))
        return stopped

    def _add(self, entry: ServerEntry, *, lazy: bool, name: str | None = None) -> DownstreamServer:
        server = DownstreamServer(
            entry,
            name=name or entry.name,
            open_link=self._open_link,
            settings=self._settings.downstream,
            catalog=self._catalog,
            on_change=self._lists_changed,
            on_updated=lambda server, uri: self._on_updated(server.name, uri),
            rng=self._rng,
            lazy=lazy,
        )
        self._downstreams[server.name] = server
        return server

    def _start_all(self) -> None:
        """Supervise every server, but those whose predecessors of the same name are still there."""
        loop = asyncio.get_running_loop()
        for name, server in self._downstreams.items():
            if name not in self._tasks:
                self._tasks[name] = loop.create_task(server.run(), name=f"server {name}")

    async def _stop(self, names: Sequence[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names]
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a supervisor failed", exc_info=result)

    def _lists_changed(self, server: DownstreamServer, methods: frozenset[str]) -> None:
        if self._save_timer is None:
            loop = asyncio.get_running_loop()
            self._save_timer = loop.call_later(CATALOG_SAVE_S, self._save_catalog)
        review = self._reviews.get(server.name)
        if review is not None and review.server is server:
            review.review()
        self._on_change(methods)

    def _save_catalog(self) -> None:
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        try:
            self._catalog.save()
        except OSError as error:
            # Without it the next start is slower, and nothing else is lost.
            log.warning("the catalog cannot be saved", extra={"problem": str(error)})
        try:
            self._definitions.save(set(self._reviews))
        except OSError as error:
            log.warning("what tools say cannot be remembered", extra={"problem": str(error)})


def _note_refusal(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("a server did not take the log level", extra={"problem": str(error)})
