"""Which folders may be read, and the one way from a caller's path to a path inside them."""

from __future__ import annotations

import json
import os
import stat
from functools import cache
from pathlib import Path

from fastmcp.exceptions import ToolError

ROOTS_VARIABLE = "HUB_SKILLS__FS_ROOTS"
BYTES_VARIABLE = "HUB_SKILLS__FS_BYTES_MAX"
SEARCH_VARIABLE = "HUB_SKILLS__FS_SEARCH_DEADLINE_S"
HOW_TO_ALLOW = (
    "The user can allow a folder: fs_roots = ['/path/to/folder'] under [skills] in hub.toml, "
    f"or {ROOTS_VARIABLE}='[\"/path/to/folder\"]' in the environment."
)


@cache
def allowed_roots() -> tuple[Path, ...]:
    """The folders that may be read, with every link resolved.

    Raises:
        ToolError: None is allowed, or the variable that lists them is no JSON list.
    """
    try:
        listed = json.loads(os.environ.get(ROOTS_VARIABLE, "[]"))
    except json.JSONDecodeError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(root, str) and root for root in listed):
        raise ToolError(f"{ROOTS_VARIABLE} must be a JSON list of folders.")
    roots = tuple(Path(os.path.realpath(Path(root).expanduser())) for root in listed)
    if not roots:
        raise ToolError(f"No folder may be read yet. {HOW_TO_ALLOW}")
    return roots


def file_bytes_max() -> int:
    """The largest file that is read or searched."""
    return int(os.environ.get(BYTES_VARIABLE, 16 * 1024 * 1024))


def search_deadline_s() -> float:
    """How long one search may take."""
    return float(os.environ.get(SEARCH_VARIABLE, 20.0))


def resolve(path: str) -> Path:
    """The real place of a path, which exists and lies inside an allowed folder.

    A relative path is looked for in each allowed folder in turn. A path outside is
    refused in the same words whether or not something is there.

    Raises:
        ToolError: It lies outside, leads outside by a link, or does not exist.
    """
    roots = allowed_roots()
    if "\0" in path:
        raise ToolError("A path cannot hold a NUL character.")
    wanted = Path(path).expanduser()
    places = [wanted] if wanted.is_absolute() else [root / wanted for root in roots]
    inside = [real for real in (Path(os.path.realpath(place)) for place in places) if is_allowed(real)]
    if not inside:
        raise ToolError(f"{path!r} is outside the allowed folders: {_shown(roots)}. {HOW_TO_ALLOW}")
    for real in inside:
        if os.path.lexists(real):
            return real
    where = "" if wanted.is_absolute() else f" in {_shown(roots)}"
    raise ToolError(f"Nothing is at {path!r}{where}. fs.search finds files by name.")


def is_allowed(real: Path) -> bool:
    """Whether a path without links lies in an allowed folder."""
    return any(real == root or root in real.parents for root in allowed_roots())


def read_bytes(real: Path, bytes_max: int) -> bytes:
    """The whole content of a regular file.

    Args:
        real: What `resolve` returned.

    Raises:
        ToolError: It is no regular file, is larger than `bytes_max`, or cannot be opened.
    """
    # Not to follow a link put there since, and not to wait for the writer of a pipe.
    flags = (
        os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        with open(os.open(real, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ToolError(f"{real} is not a regular file.")
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise ToolError(f"{real} cannot be read: {error.strerror}.") from None
    if len(content) > bytes_max:
        size = max(status.st_size, len(content))
        raise ToolError(f"{real} has {size} bytes; at most {bytes_max} are read (fs_bytes_max in hub.toml).")
    return content


def _shown(roots: tuple[Path, ...]) -> str:
    return ", ".join(str(root) for root in roots)
