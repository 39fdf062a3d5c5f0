"""A tool's arguments as a person types them: `key=value`, read by the tool's input schema.

path=README.md        text, or the number, boolean or JSON that the schema asks for
tags=a tags=b         a key that is repeated fills an array
limit:=5              JSON, whatever the schema says
text=@notes.md        the content of a file (`\\@` at the start is a plain `@`)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hub.calls import Json
from hub.errors import InvalidArguments


def from_words(tool: str, words: Iterable[str], schema: Mapping[str, Any]) -> Json:
    """Read `key=value` words into a tool's arguments.

    Args:
        tool: The tool's name, for messages.
        words: What was typed.
        schema: The tool's input schema.

    Raises:
        InvalidArguments: A word is no `key=value`, its key is unknown to a closed
            schema, its value does not fit, or a required key is missing. Says what
            the tool takes.
    """
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    arguments: Json = {}
    for word in words:
        key, separator, text = word.partition("=")
        is_json = key.endswith(":")
        key = key.removesuffix(":")
        if not separator or not key:
            raise InvalidArguments(f"{word!r} is not key=value; {usage(tool, schema)}")
        if key not in properties and schema.get("additionalProperties") is False:
            raise InvalidArguments(f"{tool} has no argument {key!r}; {usage(tool, schema)}")
        kinds = _types(properties.get(key), schema)
        item_kinds = _types(_items(properties.get(key), schema), schema) if "array" in kinds else []
        if is_json:
            arguments[key] = _json(tool, key, text)
        elif "array" in kinds and "string" not in kinds and not text.startswith("["):
            arguments.setdefault(key, []).append(_value(tool, key, text, item_kinds))
        elif key in arguments:
            raise InvalidArguments(f"{tool}: {key!r} was given twice, and it is not a list")
        else:
            arguments[key] = _value(tool, key, text, kinds)
    required = schema.get("required")
    missing = [key for key in required if key not in arguments] if isinstance(required, list) else []
    if missing:
        raise InvalidArguments(f"{tool} needs {', '.join(missing)}; {usage(tool, schema)}")
    return arguments


def from_json(text: str, origin: str) -> Json:
    """Read a JSON object.

    Args:
        text: The JSON.
        origin: Where it came from, for messages.

    Raises:
        InvalidArguments: It is no JSON object.
    """
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise InvalidArguments(f"{origin}: not valid JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise InvalidArguments(f'{origin}: arguments are a JSON object, like \'{{"path": "README.md"}}\'')
    return arguments


def read_file(path: str, what: str) -> str:
    """The text of a file that an argument names.

    Raises:
        InvalidArguments: It cannot be read as UTF-8 text.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidArguments(f"{what}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArguments(f"{what}: {path} is not UTF-8 text") from None


def usage(tool: str, schema: Mapping[str, Any]) -> str:
    """One line that says what a tool takes, optional arguments in brackets."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return f"{tool} takes no arguments"
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    words = []
    for key, of in properties.items():
        word = f"{key}=<{type_name(of, schema)}>"
        words.append(word if key in required else f"[{word}]")
    return f"{tool} takes {' '.join(words)}"


def type_name(of: Any, schema: Mapping[str, Any]) -> str:
    """A short name for what a property may hold, for example `string` or `red|green`."""
    resolved = _resolve(of, schema)
    choices = resolved.get("enum")
    if isinstance(choices, list) and 0 < len(choices) <= 5:
        return "|".join(str(choice) for choice in choices)
    return "|".join(kind for kind in _types(of, schema) if kind != "null") or "any"


def _value(tool: str, key: str, text: str, kinds: list[str]) -> Any:
    if text.startswith("@"):
        text = read_file(text[1:], f"{tool}: {key}")
    elif text.startswith("\\@"):
        text = text[1:]
    if "string" in kinds:
        return None if text == "null" and "null" in kinds else text
    if not kinds:
        # The schema does not say: what reads as JSON is meant as JSON.
        try:
            return json.loads(text)
        except ValueError:
            return text
    value = _json(tool, key, text, "/".join(kinds))
    if not any(_fits(value, kind) for kind in kinds):
        raise InvalidArguments(f"{tool}: {key} is {'/'.join(kinds)}, and {text!r} is not")
    return value


def _json(tool: str, key: str, text: str, kind: str = "JSON") -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidArguments(f"{tool}: {key} is {kind}, and {text!r} is not") from None


def _fits(value: Any, kind: str) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return True


def _resolve(of: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A property's schema with a local `$ref` followed; empty when there is nothing to follow."""
    for _ in range(8):
        if not isinstance(of, Mapping):
            return {}
        reference = of.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return of
        target: Any = schema
        for part in reference[2:].split("/"):
            target = target.get(part) if isinstance(target, Mapping) else None
        of = target
    return {}


def _types(of: Any, schema: Mapping[str, Any]) -> list[str]:
    """The JSON types that a property's schema allows; empty when it does not say."""
    resolved = _resolve(of, schema)
    declared = resolved.get("type")
    if isinstance(declared, str):
        return [declared]
    if isinstance(declared, list):
        return [kind for kind in declared if isinstance(kind, str)]
    for keyword in ("anyOf", "oneOf"):
        options = resolved.get(keyword)
        if isinstance(options, list):
            return list(dict.fromkeys(kind for option in options for kind in _types(option, schema)))
    choices = resolved.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(choice, str) for choice in choices):
        return ["string"]
    return []


def _items(of: Any, schema: Mapping[str, Any]) -> Any:
    """What stands in an array property."""
    resolved = _resolve(of, schema)
    if "items" in resolved:
        return resolved["items"]
    for keyword in ("anyOf", "oneOf"):
        for option in resolved.get(keyword) or ():
            items = _resolve(option, schema).get("items")
            if items is not None:
                return items
    return None
