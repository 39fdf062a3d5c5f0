"""The document that describes the API (OpenAPI 3.1), made from the same table as its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub import __version__
from hub.calls import Json
from hub.gateway.api.answers import OpenAiError, Problem
from hub.gateway.api.problems import OPENAI_PREFIX

Endpoint = Callable[[Request], Awaitable[Response]]

EVENT_STREAM = "text/event-stream"

_TEXT: Json = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked of the API.

    Attributes:
        method: In upper case.
        path: With its parameters in braces.
        endpoint: Answers it; the first line of its docstring is the summary.
        body: What the request holds; None when it has no body.
        answers: What it answers with when all goes well, by status; None for no body.
        problems: The statuses of what may go wrong, beside those of every operation.
        headers: Request headers that it knows, and what they mean.
        query: Query parameters that it knows, and their schemas.
        streams: Whether its answer may be a stream of events.
        open: Whether it needs no key.
    """

    method: str
    path: str
    endpoint: Endpoint
    body: type[BaseModel] | None = None
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    problems: Sequence[int] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Json] = field(default_factory=dict)
    streams: bool = False
    open: bool = False


def routes(operations: Sequence[Operation]) -> list[Route]:
    """The routes of a table, one for each path, so that a wrong method is told the right ones."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation.endpoint
    return [Route(path, _dispatch(methods), methods=list(methods)) for path, methods in by_path.items()]


def _dispatch(methods: Mapping[str, Endpoint]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


def document(operations: Sequence[Operation]) -> Json:
    """The OpenAPI document of a table of operations."""
    kinds: set[type[BaseModel]] = {Problem, OpenAiError}
    for operation in operations:
        kinds.update(kind for kind in (operation.body, *operation.answers.values()) if kind is not None)
    references, schemas = models_json_schema(
        [(kind, "validation") for kind in sorted(kinds, key=lambda kind: kind.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    schema_of = {kind: references[kind, "validation"] for kind in kinds}
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "omni-hub",
            "version": __version__,
            "description": "Turns of the hub's agent. The same tools and memory are served over MCP at /mcp.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}],
    }


def _operation(operation: Operation, schema_of: Mapping[type[BaseModel], Json]) -> Json:
    parameters: list[Json] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": _TEXT}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": meaning}
        for name, meaning in operation.headers.items()
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in operation.query.items()
    ]
    problems = {405, *operation.problems} | (set() if operation.open else {401, 403, 421, 500, 503})
    if operation.body:
        problems |= {400, 413, 415}
    is_openais = operation.path.startswith(OPENAI_PREFIX)
    problem = schema_of[OpenAiError if is_openais else Problem]
    media_type = "application/json" if is_openais else "application/problem+json"
    responses: Json = {}
    for status, answer in operation.answers.items():
        content: Json = {"application/json": {"schema": schema_of[answer]}} if answer else {}
        if operation.streams and status == 200:
            content[EVENT_STREAM] = {"schema": _TEXT}
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            **({"content": content} if content else {}),
        }
    for status in sorted(problems - set(operation.answers)):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {media_type: {"schema": problem}},
        }
    told: Json = {
        "operationId": operation.endpoint.__qualname__.replace(".", "_").lower().lstrip("_"),
        "summary": (operation.endpoint.__doc__ or "").strip().split("\n", 1)[0],
        "parameters": parameters,
        "responses": responses,
    }
    if operation.body:
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    if operation.open:
        told["security"] = []
    return told
