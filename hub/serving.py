"""`hub serve`: the entry for a client, and serving beside a hub that runs already."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hub.calls import Json
from hub.channels import LineChannel
from hub.errors import METHOD_NOT_FOUND, HubError, RpcError
from hub.jsonrpc import Peer, PeerClosed, Request

if TYPE_CHECKING:
    from hub.place import Place

_SERVE_S = 10 * 365 * 86_400.0
"""`hub/serve` is answered when serving ends; its wait is never the limit."""

_FOLLOW_S = 0.5


def client_entry(where: Json) -> Json:
    """The entry for a client's configuration, key included.

    Args:
        where: `mcp`, `auth` and `key_file`, as the gateway gives them.
    """
    entry: Json = {"type": "http", "url": where["mcp"]}
    if where["auth"]:
        key = Path(where["key_file"]).read_text(encoding="ascii").strip()
        entry["headers"] = {"Authorization": f"Bearer {key}"}
    return {"mcpServers": {"hub": entry}}


class _Events:
    """Takes what the running hub says of its faces."""

    def __init__(self) -> None:
        self.serving: asyncio.Future[Json] = asyncio.get_running_loop().create_future()

    async def on_request(self, request: Request) -> Json:
        raise RpcError({"code": METHOD_NOT_FOUND, "message": "a command answers nothing"})

    def on_notification(self, method: str, params: Json) -> None:
        if params.get("type") == "serving" and not self.serving.done():
            self.serving.set_result(params)


async def serve_beside(
    place: Place, *, host: str | None, port: int | None, auth: bool, tell: Callable[[Json], None]
) -> None:
    """Have the running hub open its HTTP faces for as long as this runs, and follow its log.

    Raises:
        HubError: The running hub could not open them, or ended.
    """
    from hub import local
    from hub.rendezvous import Hello

    events = _Events()
    channel = LineChannel(1024 * 1024)
    channel.receiver = peer = Peer(channel, events)
    await local.connect(place.home, Hello("control"), lambda: channel, start=False)
    params = {"host": host, "port": port, "auth": auth}
    asking = asyncio.ensure_future(peer.request("hub/serve", params, idle_deadline_s=_SERVE_S))
    following: asyncio.Task[None] | None = None
    try:
        await asyncio.wait({asking, events.serving}, return_when=asyncio.FIRST_COMPLETED)
        if events.serving.done():
            tell(events.serving.result())
            following = asyncio.ensure_future(_follow(place.home.log_file))
        await asking
    except RpcError as error:
        raise HubError(str(error.error.get("message"))) from None
    except PeerClosed:
        raise HubError("the running hub ended") from None
    finally:
        if following is not None:
            following.cancel()
        peer.close("the command ended")


async def _follow(log_file: Path) -> None:
    """Print what is added to the log."""
    position = _size(log_file)
    while True:
        await asyncio.sleep(_FOLLOW_S)
        added, position = await asyncio.to_thread(_read_from, log_file, position)
        sys.stderr.write(added)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _read_from(log_file: Path, position: int) -> tuple[str, int]:
    """What a log holds behind a position, and its new end; all of it when it was rotated."""
    size = _size(log_file)
    if size == position:
        return "", position
    with log_file.open(encoding="utf-8", errors="replace") as file:
        file.seek(position if size > position else 0)
        return file.read(), file.tell()
