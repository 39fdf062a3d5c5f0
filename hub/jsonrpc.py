"""One end of a JSON-RPC 2.0 conversation, on plain JSON objects.

A `Peer` sits on a `Channel` that carries whole messages. It matches answers to
the requests it sent, runs a task for each request it received, and knows about
cancellation and progress, which MCP correlates by request id. Methods and params
are opaque: a message that only passes through is parsed once and written once,
and nothing in it that the hub does not know is lost.

The hub has its own peer, and not the SDK's dispatcher, because the SDK's handling
of each message costs more than the rest of a forwarded call; see
`docs/decisions/0003-own-json-rpc-peer.md`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pydantic_core

from hub.calls import Json
from hub.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    SERVER_ERROR,
    Busy,
    HubError,
    RpcError,
)
from hub.lines import CutLine

log = logging.getLogger(__name__)

RequestId = str | int
Progress = Callable[[Json], None]
"""Takes the params of one `notifications/progress`."""

NOT_CANCELLABLE = frozenset({"initialize", "server/discover"})
"""Requests that the protocol forbids cancelling, or whose peer may not know how."""


def encode(message: Any) -> bytes:
    """Write a message as one line of JSON, without the newline."""
    try:
        return pydantic_core.to_json(message, inf_nan_mode="constants")
    except ValueError:
        # Lone surrogates are legal in JSON escapes but have no UTF-8 form.
        return json.dumps(message, separators=(",", ":")).encode()


def decode(line: bytes | bytearray | memoryview) -> Any:
    """Read one JSON text; integers of any size stay exact.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return pydantic_core.from_json(bytes(line), cache_strings="keys")
    except ValueError:
        try:
            return json.loads(bytes(line))
        except RecursionError:
            raise ValueError("nested too deeply") from None


ASK_DEADLINE_S = 600.0
"""How long whoever is asked something in the middle of a request may take to answer."""


class PeerClosed(Exception):
    """The conversation ended before the answer came.

    Attributes:
        sent: Whether the request may have reached the other side.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class PeerTimeout(Exception):
    """The other side did not answer by the deadline.

    Attributes:
        sent: Whether the request left, and with it, later, word that nobody waits.
    """

    def __init__(self, problem: str, *, sent: bool = True) -> None:
        super().__init__(problem)
        self.sent = sent


class NoAnswer(RpcError):
    """Something came that is no answer to a request, and none will: a page of HTML, or far too much."""

    def __init__(self, problem: str) -> None:
        super().__init__({"code": SERVER_ERROR, "message": problem})


class Channel(Protocol):
    """Carries whole messages to the other side."""

    @property
    def full(self) -> bool:
        """Whether so much is unsent that a sender should wait in `drain`."""
        ...

    def send(self, message: Json, headers: Mapping[str, str] | None = None) -> None:
        """Queue a message; `headers` go with it where the transport has any."""
        ...

    async def drain(self) -> None:
        """Return once there is room to send, or the channel has closed."""
        ...

    def close(self) -> None:
        """End the conversation after what is queued has been written."""
        ...


class Handler(Protocol):
    """Answers what the other side asks."""

    async def on_request(self, request: Request) -> Json:
        """The result of a request.

        Raises:
            HubError, RpcError: Become the error that is sent.
        """
        ...

    def on_notification(self, method: str, params: Json) -> None:
        """Take a notification; must not block and must not raise."""
        ...


class Request:
    """One request from the other side, while it is being answered.

    Attributes:
        peer: The conversation it came in on.
        id: Its id, as sent.
        method: The method.
        params: The params, an empty object when there were none.
        channel: Where its answer goes, and whatever else belongs to it.
    """

    __slots__ = ("channel", "id", "method", "params", "peer")

    def __init__(
        self, peer: Peer, request_id: RequestId, method: str, params: Json, channel: Channel
    ) -> None:
        self.peer = peer
        self.id = request_id
        self.method = method
        self.params = params
        self.channel = channel

    def notify(self, method: str, params: Json) -> None:
        """Send a notification that belongs to this request."""
        self.peer.notify(method, params, channel=self.channel)

    async def ask(self, method: str, params: Json) -> Json:
        """Send a request that belongs to this request, to whoever sent it; a person may have to answer.

        Raises:
            RpcError, PeerTimeout, PeerClosed: As `Peer.request` does.
        """
        return await self.peer.request(method, params, idle_deadline_s=ASK_DEADLINE_S, channel=self.channel)


class _Pending:
    """A request of ours that waits for its answer."""

    __slots__ = ("answer", "held_up", "idle_s", "last_sign", "on_progress", "sent_at", "timer", "total_s")

    def __init__(
        self,
        answer: asyncio.Future[Json],
        on_progress: Progress | None,
        held_up: Callable[[], bool] | None,
        idle_s: float,
        total_s: float,
        now: float,
    ) -> None:
        self.answer = answer
        self.on_progress = on_progress
        self.held_up = held_up
        self.idle_s = idle_s
        self.total_s = total_s
        self.sent_at = self.last_sign = now
        self.timer: asyncio.TimerHandle | None = None


class Peer:
    """One end of a conversation.

    Whoever reads the transport calls `receive` with each message and `close` at its
    end. Requests that the other side sends run as tasks of this peer and are
    cancelled when it closes.

    Args:
        channel: Where messages go out.
        handler: Answers requests and takes notifications.
        requests_max: How many requests of the other side may run at once; further
            ones are refused with `Busy`.
        answer_garbage: Whether the other side is told when it sent what is no message.
        last_id: Ids of requests count up from here. A peer whose predecessor spoke with
            the same other side starts elsewhere, so that no late answer meets a new request.
    """

    def __init__(
        self,
        channel: Channel,
        handler: Handler,
        *,
        requests_max: int = 1024,
        answer_garbage: bool = True,
        last_id: int = 0,
    ) -> None:
        self.channel = channel
        self._handler = handler
        self._requests_max = requests_max
        self._answer_garbage = answer_garbage
        self._loop = asyncio.get_running_loop()
        self._last_id = last_id
        self._pending: dict[RequestId, _Pending] = {}
        self._serving: dict[RequestId, asyncio.Task[None]] = {}
        self._cancelled_by_peer: set[RequestId] = set()
        self._closed: asyncio.Future[str] = self._loop.create_future()

    # -- outwards

    async def request(
        self,
        method: str,
        params: Json,
        *,
        idle_deadline_s: float,
        total_deadline_s: float | None = None,
        on_progress: Progress | None = None,
        held_up: Callable[[], bool] | None = None,
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
        channel: Channel | None = None,
    ) -> Json:
        """Send a request and wait for its result.

        Args:
            method: The method.
            params: Its params; not changed.
            idle_deadline_s: How long to wait since the request, or since its last progress.
            total_deadline_s: How long to wait in all; the same as `idle_deadline_s` when None.
            on_progress: Takes progress reports, in order and before the result.
            held_up: Whether the other side waits for this one, which then is no silence of its own.
            headers: Go with the message on transports that have headers.
            request_id: An id of the caller's choosing, which must not read as an integer;
                a fresh integer when None.
            channel: Where to send it; the peer's own channel when None.

        Raises:
            RpcError: The other side answered with an error.
            PeerTimeout: No answer by the deadline; the other side was told to stop.
            PeerClosed: The conversation ended first.
        """
        if self._closed.done():
            raise PeerClosed(self._closed.result(), sent=False)
        channel = channel or self.channel
        total_s = idle_deadline_s if total_deadline_s is None else total_deadline_s
        if channel.full:
            wait_s = min(idle_deadline_s, total_s)
            try:
                async with asyncio.timeout(wait_s):
                    await channel.drain()
            except TimeoutError:
                raise PeerTimeout(f"it took nothing in for {wait_s:g} s", sent=False) from None
            if self._closed.done():
                raise PeerClosed(self._closed.result(), sent=False)
        self._last_id += 1
        id_: RequestId = request_id or self._last_id
        if on_progress is not None:
            params = {**params, "_meta": {**(params.get("_meta") or {}), "progressToken": id_}}
        now = self._loop.time()
        pending = _Pending(self._loop.create_future(), on_progress, held_up, idle_deadline_s, total_s, now)
        pending.timer = self._loop.call_later(
            min(idle_deadline_s, total_s), self._check_deadline, id_, method
        )
        self._pending[id_] = pending
        try:
            channel.send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}, headers)
            return await pending.answer
        except asyncio.CancelledError:
            self._cancel(id_, method, "the caller no longer waits")
            raise
        finally:
            pending.timer.cancel()
            self._pending.pop(id_, None)

    def notify(self, method: str, params: Json | None = None, *, channel: Channel | None = None) -> None:
        """Send a notification; one that cannot be sent any more is dropped."""
        if self._closed.done():
            return
        message: Json = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        (channel or self.channel).send(message)

    def fail(self, request_id: RequestId, error: RpcError | PeerClosed) -> None:
        """Fail one request of ours, because its transport knows that no answer will come.

        Args:
            request_id: The request's id.
            error: What its sender is told.
        """
        pending = self._pending.get(request_id)
        if pending is not None and not pending.answer.done():
            pending.answer.set_exception(error)

    def _cancel(self, request_id: RequestId, method: str, reason: str) -> None:
        if method not in NOT_CANCELLABLE:
            self.notify("notifications/cancelled", {"requestId": request_id, "reason": reason})

    def _check_deadline(self, request_id: RequestId, method: str) -> None:
        pending = self._pending.get(request_id)
        if pending is None or pending.answer.done():
            return
        if pending.held_up is not None and pending.held_up():
            pending.last_sign = self._loop.time()
        idle_until, total_until = pending.last_sign + pending.idle_s, pending.sent_at + pending.total_s
        due = min(idle_until, total_until)
        if due > self._loop.time():
            pending.timer = self._loop.call_at(due, self._check_deadline, request_id, method)
            return
        self._cancel(request_id, method, "deadline exceeded")
        if idle_until <= total_until:
            problem = f"no answer to {method} within {pending.idle_s:g} s"
        else:
            problem = f"{method} took over {pending.total_s:g} s in all"
        pending.answer.set_exception(PeerTimeout(problem))

    # -- inwards

    def receive(self, message: Any, reply_to: Channel | None = None) -> None:
        """Take one message from the other side.

        Args:
            message: The message.
            reply_to: Where the answer to it goes; the peer's own channel when None.
        """
        channel = reply_to or self.channel
        if type(message) is not dict:
            self._refuse(channel, None, INVALID_REQUEST, "a message must be a single JSON object")
            return
        method = message.get("method")
        if method is None:
            self._take_answer(message)
        elif not isinstance(method, str):
            self._refuse(channel, message.get("id"), INVALID_REQUEST, "'method' must be a string")
        elif "id" in message:
            self._take_request(channel, message["id"], method, message.get("params"))
        else:
            self._take_notification(method, message.get("params"))

    def receive_garbage(self, problem: str) -> None:
        """Take note that something came in that is no message.

        Args:
            problem: What was wrong with it.
        """
        log.warning("received what is no message", extra={"problem": problem})
        if self._answer_garbage:
            self._refuse(self.channel, None, PARSE_ERROR, problem)

    def receive_cut(self, line: CutLine, problem: str) -> None:
        """Take note of a message that was too long, so that nobody waits for what it asked or answered.

        Args:
            line: What is left of it.
            problem: What was wrong with it.
        """
        request_id = line.request_id
        if request_id is None or (line.asks and not self._answer_garbage):
            self.receive_garbage(problem)
        elif line.asks:
            self._refuse(self.channel, request_id, INVALID_REQUEST, problem)
        else:
            self.fail(request_id, NoAnswer(problem))

    def _refuse(self, channel: Channel, request_id: Any, code: int, problem: str) -> None:
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            request_id = None
        self._send_error(channel, request_id, {"code": code, "message": problem})

    def _take_answer(self, message: Json) -> None:
        request_id = message.get("id")
        pending = self._pending.get(request_id) if isinstance(request_id, int | str) else None
        if pending is None and isinstance(request_id, str) and request_id.isascii() and request_id.isdigit():
            pending = self._pending.get(int(request_id))  # some peers echo a number as a string
        if pending is None or pending.answer.done():
            log.debug("an answer to nothing we asked", extra={"id": request_id})
            return
        if "error" in message:
            error = message["error"]
            pending.answer.set_exception(
                RpcError(
                    error if isinstance(error, dict) else {"code": INTERNAL_ERROR, "message": str(error)}
                )
            )
        elif isinstance(result := message.get("result"), dict):
            pending.answer.set_result(result)
        else:
            pending.answer.set_exception(
                RpcError({"code": INTERNAL_ERROR, "message": "the answer's 'result' is not an object"})
            )

    def _take_request(self, channel: Channel, request_id: Any, method: str, params: Any) -> None:
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            self._refuse(channel, None, INVALID_REQUEST, "'id' must be a string or an integer")
        elif params is not None and type(params) is not dict:
            self._refuse(channel, request_id, INVALID_REQUEST, "'params' must be an object")
        elif request_id in self._serving:
            self._refuse(
                channel, request_id, INVALID_REQUEST, f"a request with id {request_id!r} is still running"
            )
        elif len(self._serving) >= self._requests_max:
            busy = Busy(
                f"{self._requests_max} requests are running on this connection; wait for one to finish"
            )
            self._send_error(channel, request_id, busy.to_json_rpc())
        else:
            request = Request(self, request_id, method, params if params is not None else {}, channel)
            self._serving[request_id] = self._loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        """Answer one request: the only place where an exception becomes an error message."""
        try:
            result = await self._handler.on_request(request)
        except asyncio.CancelledError:
            if request.id not in self._cancelled_by_peer:
                raise
            return
        except (HubError, RpcError) as error:
            self._send_error(request.channel, request.id, error.to_json_rpc())
        except Exception:
            # A bug in one request must not take down the connection it came in on.
            log.exception("a request failed inside the hub", extra={"method": request.method})
            problem = {"code": INTERNAL_ERROR, "message": "internal error; see the hub's log"}
            self._send_error(request.channel, request.id, problem)
        else:
            if request.id not in self._cancelled_by_peer and not self._closed.done():
                if request.channel.full:
                    await request.channel.drain()
                request.channel.send({"jsonrpc": "2.0", "id": request.id, "result": result})
        finally:
            self._serving.pop(request.id, None)
            self._cancelled_by_peer.discard(request.id)
            if request.channel is not self.channel:
                request.channel.close()  # it was this request's alone, and perhaps its answer never came

    def _send_error(self, channel: Channel, request_id: RequestId | None, error: Json) -> None:
        if not self._closed.done() and request_id not in self._cancelled_by_peer:
            channel.send({"jsonrpc": "2.0", "id": request_id, "error": error})

    def _take_notification(self, method: str, params: Any) -> None:
        params = params if type(params) is dict else {}
        if method == "notifications/progress":
            token = params.get("progressToken")
            pending = self._pending.get(token) if isinstance(token, str | int) else None
            if pending is not None and not pending.answer.done():
                pending.last_sign = self._loop.time()
                if pending.on_progress is not None:
                    pending.on_progress(params)
            return
        if method == "notifications/cancelled":
            request_id = params.get("requestId")
            task = self._serving.get(request_id) if isinstance(request_id, str | int) else None
            if task is not None:
                assert isinstance(request_id, str | int)
                self._cancelled_by_peer.add(request_id)
                # Not at once: a task cancelled before its first step never runs, nor what it would clean up.
                self._loop.call_soon(task.cancel)
            return
        self._handler.on_notification(method, params)

    # -- the end

    @property
    def closed(self) -> bool:
        """Whether the conversation has ended."""
        return self._closed.done()

    async def wait_closed(self) -> str:
        """Wait for the conversation to end; returns why it did."""
        return await asyncio.shield(self._closed)

    def close(self, reason: str) -> None:
        """End the conversation: pending requests fail, running ones are cancelled.

        Args:
            reason: Why, for whoever was waiting for an answer.
        """
        if self._closed.done():
            return
        self._closed.set_result(reason)
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(PeerClosed(reason, sent=True))
        for request_id, task in self._serving.items():
            # One that was cancelled already is clearing up, which a second time would interrupt.
            if request_id not in self._cancelled_by_peer:
                task.cancel()
        self.channel.close()

    async def settle(self, grace_s: float) -> None:
        """Wait for the requests that are being answered to finish.

        Args:
            grace_s: How long at most.
        """
        if self._serving:
            await asyncio.wait(list(self._serving.values()), timeout=grace_s)
