"""Answers in a given structure: the model is told the JSON Schema, and its answer is held to it."""

from __future__ import annotations

import json
import re
from typing import Any

from hub.calls import Json
from hub.errors import InvalidArguments

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_PROBLEMS_MAX = 5


class Structure:
    """A JSON Schema that an answer must fit.

    Args:
        schema: Of any draft; 2020-12 when it does not say.

    Raises:
        InvalidArguments: It is no JSON Schema, or refers to something outside of itself.
    """

    def __init__(self, schema: Json) -> None:
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise InvalidArguments(f"output_schema is no JSON Schema: {error.message}") from None
        if outside := _reference_outside(schema):
            raise InvalidArguments(f"output_schema refers to {outside!r}; it must hold everything itself")
        self._schema = schema
        # An empty registry: nothing is ever fetched.
        self._validator = kind(schema, registry=Registry())

    @property
    def instruction(self) -> str:
        """What the system prompt says about it."""
        return (
            "Your final answer must be one JSON value that fits this JSON Schema, and nothing beside it:\n"
            + json.dumps(self._schema, ensure_ascii=False)
        )

    @property
    def response_format(self) -> Json:
        """The same for models whose API can enforce it, in OpenAI's form."""
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": self._schema}}

    def read(self, text: str) -> tuple[Any, str | None]:
        """The value in an answer, and what is wrong with it; None when nothing is."""
        fenced = _FENCE.search(text)
        try:
            value = json.loads(fenced[1] if fenced else text)
        except ValueError as error:
            return None, f"it is not JSON: {error}"
        problems = [f"at {found.json_path}: {found.message}" for found in self._validator.iter_errors(value)][
            :_PROBLEMS_MAX
        ]
        return value, "; ".join(problems) or None

    def repair(self, text: str, problem: str) -> list[Json]:
        """A request that mends an answer, complete in itself."""
        return [
            {"role": "system", "content": self.instruction},
            {
                "role": "user",
                "content": f"This answer does not fit the schema: {problem}.\n\n{text}\n\n"
                "Send the same answer so that it fits.",
            },
        ]


def _reference_outside(schema: object) -> str | None:
    """A `$ref` that leaves the schema; None when there is none."""
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            return reference
        children: list[object] = list(schema.values())
    elif isinstance(schema, list):
        children = schema
    else:
        return None
    return next((found for child in children if (found := _reference_outside(child))), None)
