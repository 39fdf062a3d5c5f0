"""The params of the private methods: closed, so that a slip of either side is seen."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.builtin.agent import TurnLimits
from hub.calls import Json
from hub.errors import InvalidArguments
from hub.jsonrpc import Request


class _Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolsList(_Params):
    server: str | None = None


class ToolsShow(_Params):
    name: str


class ToolsSearch(_Params):
    query: str
    limit: int = Field(default=8, ge=1, le=100)


class ToolsCall(_Params):
    name: str
    arguments: Json = {}
    deadline_s: float | None = Field(default=None, gt=0)
    meta: Json = Field(default={}, alias="_meta")


class OneServer(_Params):
    name: str


class ServersApprove(_Params):
    name: str
    digest: str


class MemoryStore(_Params):
    text: str
    intent: str | None = None
    outcome: str | None = None
    scope: str | None = None


class MemoryRecall(_Params):
    query: str
    k2: int | None = Field(default=None, ge=1, le=100)
    scope: str | None = None


class MemoryFeedback(_Params):
    about: str
    reward: float = Field(ge=0, le=1)
    used_ids: list[str] | None = None


class MemoryForget(_Params):
    episode_ids: list[str] = []
    scope: str | None = None


class MemoryList(_Params):
    limit: int = Field(default=20, ge=1, le=1000)
    offset: int = Field(default=0, ge=0)
    scope: str | None = None


class SessionsList(_Params):
    limit: int = Field(default=20, ge=1, le=1000)


class SessionsShow(_Params):
    session_id: str
    limit: int = Field(default=20, ge=1, le=10_000)


class SessionsDelete(_Params):
    session_id: str


class RunTurn(_Params):
    message: str
    session_id: str = "default"
    limits: TurnLimits = TurnLimits()
    output_schema: Json | None = None


class Serve(_Params):
    host: str | None = None
    port: int | None = Field(default=None, ge=0, le=65535)
    auth: bool = True


P = TypeVar("P", bound=BaseModel)


def read(kind: type[P], request: Request) -> P:
    """A request's params, checked.

    Raises:
        InvalidArguments: They do not fit.
    """
    try:
        return kind.model_validate(request.params)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InvalidArguments(f"{request.method}: {where}: {problem['msg']}") from None
