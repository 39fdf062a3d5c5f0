"""What requests hold, checked: closed and strict, so that a slip is told and not guessed at."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from hub.builtin.agent import TurnLimits
from hub.calls import Json
from hub.errors import InvalidArguments
from hub.gateway.http import read_body
from hub.jsonrpc import decode


class Body(BaseModel):
    """The JSON object that a request carries."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Message(Body):
    """The body of `POST /message`."""

    message: str = Field(min_length=1)
    """What the agent should do."""
    session_id: str = Field(default="default", min_length=1, max_length=128)
    """The conversation it belongs to."""
    wait: bool = True
    """Whether the response is the turn's answer; otherwise 202 comes at once, and the run goes on."""
    limits: TurnLimits = TurnLimits()
    """Bounds of this turn."""
    output_schema: Json | None = None
    """A JSON Schema that the answer must fit."""


class FurtherMessage(Body):
    """The body of `POST /runs/{run_id}/message`."""

    message: str = Field(min_length=1)
    """What the model reads before its next answer."""


B = TypeVar("B", bound=BaseModel)


async def read(kind: type[B], request: Request, bytes_max: int) -> tuple[B, bytes]:
    """A request's body, checked, and the bytes that it came as.

    Raises:
        HTTPException: It is of another media type.
        TooLarge: It is over the bound.
        InvalidArguments: It is not what was expected.
        ClientGone: The client left before it had sent all.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and media_type != "application/json":
        raise HTTPException(415, f"the body is {media_type}; send content-type: application/json")
    body = await read_body(request.scope, request.receive, bytes_max)
    try:
        return kind.model_validate(decode(body)), body
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "body"
        raise InvalidArguments(f"{where}: {problem['msg']}") from None
    except ValueError as error:
        raise InvalidArguments(f"the body is not JSON: {error}") from None
