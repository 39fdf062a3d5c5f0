"""Which home and which servers file an invocation means.

The home is `--home`, else `HUB_HOME`, else the platform's user data folder. The
servers file is `--mcp-config`, else an approved `.mcp.json` in the current folder,
else `mcp.json` in the home. A hub serves one servers file, so another file without
`--home` gets a home of its own.

A folder's `.mcp.json` starts programs, and a folder may come from anyone: such a
file counts only once its user has approved its exact content. Approvals are kept in
the default home, by path and SHA-256.

Standard library only, because `hub mcp` starts here.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hub.errors import ConfigError
from hub.home import PROJECTS_FOLDER, Home, default_home

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_FILE = ".mcp.json"
HOME_VARIABLE = "HUB_HOME"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub lives and what it serves.

    Attributes:
        home: The hub's home.
        servers_file: The servers file, absolute; None when it is the home's own `mcp.json`.
        unapproved: The current folder's `.mcp.json` when it was passed over for want of approval.
    """

    home: Home
    servers_file: Path | None = None
    unapproved: Path | None = None


def base_home(environ: Mapping[str, str]) -> Home:
    """The home that is meant when `--home` says nothing."""
    return Home.at(environ.get(HOME_VARIABLE) or default_home())


def base_of(home: Home, environ: Mapping[str, str]) -> Home:
    """The home under which a home stands when a servers file got it; else what `base_home` says."""
    above = home.root.parent
    return Home(above.parent) if above.name == PROJECTS_FOLDER else base_home(environ)


def resolve(
    home: str | os.PathLike[str] | None,
    servers_file: str | os.PathLike[str] | None,
    *,
    folder: Path,
    environ: Mapping[str, str],
) -> Place:
    """Decide on the home and the servers file. Starts nothing and writes nothing.

    Args:
        home: `--home`, if given.
        servers_file: `--mcp-config`, if given.
        folder: The current folder, absolute.
        environ: The environment to look for `HUB_HOME` in.

    Raises:
        ConfigError: The file that `--mcp-config` names is not there.
    """
    base = base_home(environ)
    target = base if home is None else Home.at(home)
    if servers_file is not None:
        chosen = _canonical(folder / Path(servers_file).expanduser())
        if not chosen.is_file():
            raise ConfigError(f"--mcp-config: there is no file {chosen}")
    else:
        project_file = _canonical(folder / PROJECT_FILE)
        if not project_file.is_file() or project_file == _canonical(target.servers_file):
            return Place(target)
        if not is_approved(base, project_file):
            return Place(target, unapproved=project_file)
        chosen = project_file
    if chosen == _canonical(target.servers_file):
        return Place(target)
    return Place(target if home is not None else target.for_servers_file(chosen), chosen)


def is_approved(base: Home, project_file: Path) -> bool:
    """Whether a project's servers file may start programs, with the content it has now.

    Args:
        base: The default home, where approvals are kept.
        project_file: The file; one that cannot be read is not approved.
    """
    digest = _digest(project_file)
    return digest is not None and _approvals(base).get(str(_canonical(project_file))) == digest


def approve(base: Home, project_file: Path) -> None:
    """Let a project's servers file start programs for as long as its content stays the same.

    Raises:
        ConfigError: The file cannot be read, or the approval cannot be written.
    """
    digest = _digest(project_file)
    if digest is None:
        raise ConfigError(f"{project_file} cannot be read")
    approvals = _approvals(base) | {str(_canonical(project_file)): digest}
    draft = base.approvals_file.with_suffix(f".{os.getpid()}.new")
    try:
        base.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(json.dumps(approvals, indent=2) + "\n", encoding="utf-8")
        draft.replace(base.approvals_file)
    except OSError as error:
        raise ConfigError(f"{base.approvals_file} cannot be written: {error.strerror}") from None


def _approvals(base: Home) -> dict[str, str]:
    """What was approved; a file that is missing or damaged approves nothing."""
    try:
        approvals = json.loads(base.approvals_file.read_bytes())
    except (OSError, ValueError):
        return {}
    return approvals if isinstance(approvals, dict) else {}


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _canonical(file: Path) -> Path:
    """One path for one file, however it was reached, so that it always has the same home."""
    return Path(os.path.realpath(file))
