"""The OpenAPI document against the hub: every response is one that the document promises."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest

from tests.api.conftest import Scripted
from tests.hub.running import Json, Served

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@pytest.fixture(scope="module")
def document(served: Served) -> Json:
    answer = served.http.get("/openapi.json")
    assert answer.status_code == 200
    document: Json = answer.json()
    return document


def resolved(document: Json, schema: Any) -> Any:
    """A schema that can stand alone."""
    return {**schema, "components": document["components"]}


def check(document: Json, operation: Json, answer: httpx.Response) -> None:
    """Hold a response to what the document says of it."""
    promised = operation["responses"].get(str(answer.status_code))
    assert promised, f"{answer.status_code} is not promised: {answer.text[:300]}"
    assert answer.status_code != 500, answer.text
    content = promised.get("content")
    if not content:
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content, media_type
    if media_type.endswith("json"):
        jsonschema.validate(answer.json(), resolved(document, content[media_type]["schema"]))


def test_the_document_names_what_there_is_and_nothing_else(served: Served, document: Json) -> None:
    assert set(document["paths"]) == {
        "/health",
        "/message",
        "/runs",
        "/runs/{run_id}",
        "/runs/{run_id}/events",
        "/runs/{run_id}/message",
        "/v1/chat/completions",
        "/v1/models",
        "/openapi.json",
    }
    for path, operations in document["paths"].items():
        for method in METHODS:
            status = served.http.request(method, path.format(run_id="run_none")).status_code
            assert (status != 405) == (method.lower() in operations), (method, path, status)


def test_every_reference_leads_somewhere_and_every_schema_is_one(document: Json) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in json.dumps(document).split('"$ref": "')[1:]:
        assert reference.partition('"')[0].rpartition("/")[2] in document["components"]["schemas"]
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    assert all(operation["summary"] for path in document["paths"].values() for operation in path.values())


class Fuzz:
    """Makes requests from the document, by seed: some that fit, most that do not quite."""

    def __init__(self, document: Json, seed: int) -> None:
        self._document = document
        self._rng = random.Random(seed)

    def value(self, schema: Json, depth: int = 0) -> Any:
        """Something that fits a schema, more often than not."""
        rng = self._rng
        if rng.random() < 0.12:
            return self.anything(depth)
        if "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "anyOf" in schema:
            return self.value(rng.choice(schema["anyOf"]), depth)
        if "enum" in schema or "const" in schema:
            return rng.choice(schema.get("enum") or [schema["const"]])
        match schema.get("type"):
            case "object":
                properties = schema.get("properties", {})
                made = {
                    name: self.value(inner, depth + 1)
                    for name, inner in properties.items()
                    if name in schema.get("required", ()) or rng.random() < 0.3
                }
                if rng.random() < 0.1:
                    made[self.text()] = self.anything(depth + 1)
                return made
            case "array":
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(rng.randrange(4))]
            case "integer" | "number":
                return rng.choice([0, 1, -1, 3, 2**63, 0.5, 1e308])
            case "boolean":
                return rng.random() < 0.5
            case "null":
                return None
        return self.text()

    def anything(self, depth: int) -> Any:
        rng = self._rng
        made: Any = rng.choice([None, True, 0, -1.5, 10**30, "text", [], {}])
        if depth < 3 and rng.random() < 0.3:
            return {self.text(): self.anything(depth + 1), "list": [self.anything(depth + 1)]}
        return made

    def text(self) -> str:
        return self._rng.choice(
            [
                "",
                " ",
                "hi",
                "default",
                "\u0000",
                "\ud800",
                "a\nb",
                "\u202e",
                "é" * 130,
                "run_x",
                "../..",
                "%2e",
                "'",
            ]
        )

    def request(self, path: str, operation: Json) -> Json:
        """The arguments of a request."""
        rng = self._rng
        headers = {}
        params = {}
        for parameter in operation["parameters"]:
            name, value = parameter["name"], self.text()
            if parameter["in"] == "path":
                path = path.replace(f"{{{name}}}", quote(value.encode(errors="replace"), safe="") or "none")
            elif rng.random() < 0.4 and parameter["in"] == "query":
                params[name] = rng.choice([value.encode(errors="replace").decode(), 1, -1])
            elif rng.random() < 0.4 and value.isascii() and value.isprintable():
                headers[name] = value.strip()
        made: Json = {"url": path, "headers": headers, "params": params}
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            body = json.dumps(self.value(schema)).encode()
            if rng.random() < 0.15:
                at = rng.randrange(len(body) + 1)
                body = body[:at] + rng.randbytes(3) + body[at:]
            made["content"] = body
            kinds = ["application/json"] * 8 + ["application/json; charset=utf-8", "text/plain"]
            headers["content-type"] = rng.choice(kinds)
        return made


@pytest.mark.parametrize("seed", range(4))
def test_no_request_made_from_the_document_gets_an_answer_that_it_does_not_promise(
    served: Served, document: Json, scripted: Scripted, seed: int
) -> None:
    fuzz = Fuzz(document, seed)
    statuses = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for _ in range(25 if "requestBody" in operation else 5):
                request = fuzz.request(path, operation)
                answer = served.http.request(method.upper(), **request)
                statuses.add(answer.status_code)
                try:
                    check(document, operation, answer)
                except (AssertionError, jsonschema.ValidationError) as error:
                    raise AssertionError(f"seed {seed}: {method} {request}: {error}") from None
    assert {200, 400, 404} <= statuses


def test_ordinary_answers_are_those_that_the_document_promises(served: Served, document: Json) -> None:
    paths = document["paths"]
    answer = served.http.post("/message", json={"message": "echo it", "session_id": "promised"})
    check(document, paths["/message"]["post"], answer)
    run = served.http.get(f"/runs/{answer.json()['run_id']}")
    check(document, paths["/runs/{run_id}"]["get"], run)
    assert run.json()["tool_calls"][0]["name"] == "old.echo"
    failed = served.http.post("/message", json={"message": "fail", "session_id": "promised"})
    check(document, paths["/message"]["post"], failed)
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    body = {"message": "as json", "session_id": "promised", "output_schema": schema}
    answer = served.http.post("/message", json=body)
    check(document, paths["/message"]["post"], answer)
    assert answer.json()["structured"] == {"city": "Bern"}
