"""Input schemas that every client accepts.

Clients and model APIs refuse some of what JSON Schema allows, and a few drop every
tool of a server over one property. `accepted` gives a schema that says the same as
nearly as those clients can read it; a schema that needs nothing is given back as it
is. The server's own schema stays what a call's arguments are judged by.

What is mended, and for whom:

- a schema that is `true` or `false` in the place of a property: Gemini CLI loses all tools;
- a root that is no object, or has no `properties`: OpenAI, Anthropic;
- `anyOf`, `oneOf`, `allOf` at the root: Anthropic;
- `$ref` that leads in a circle, or nowhere: Gemini, Codex.
"""

from __future__ import annotations

from typing import Any

from hub.calls import Json

DEPTH_MAX = 64
"""Schemas nested deeper are cut: nobody can fill them in."""

_IN_MAP = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_IN_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
_IN_ONE = ("items", "not", "if", "then", "else", "contains", "propertyNames")


def accepted(schema: Any) -> Json:
    """An input schema as clients accept it; the same object when nothing needs mending."""
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    mended = _mend(schema, schema, (), 0)
    root: Json = mended if isinstance(mended, dict) else {}
    if any(keyword in root for keyword in ("anyOf", "oneOf", "allOf")):
        root = _flattened(root)
    if root.get("type") != "object" or "properties" not in root:
        root = {**root, "type": "object", "properties": root.get("properties") or {}}
    return root


def _mend(node: Any, root: Json, references: tuple[str, ...], depth: int) -> Any:
    """A schema inside a schema; the same object when nothing changed."""
    if isinstance(node, bool):
        return {} if node else {"not": {}}
    if not isinstance(node, dict):
        return node
    if depth > DEPTH_MAX:
        return {}
    reference = node.get("$ref")
    if isinstance(reference, str):
        if not reference.startswith("#"):
            return {key: value for key, value in node.items() if key != "$ref"}
        if reference in references or _target(root, reference) is None:
            return {"description": node["description"]} if "description" in node else {}
        if _circular(root, reference):
            # Written out to the point where it would repeat itself.
            return _mend(_target(root, reference), root, (*references, reference), depth + 1)
    changed: Json = {}
    for keyword, value in node.items():
        if keyword in _IN_MAP and isinstance(value, dict):
            inner: Any = {name: _mend(sub, root, references, depth + 1) for name, sub in value.items()}
            same = all(inner[name] is value[name] for name in value)
        elif keyword in _IN_LIST and isinstance(value, list):
            inner = [_mend(sub, root, references, depth + 1) for sub in value]
            same = all(new is old for new, old in zip(inner, value, strict=True))
        elif keyword in _IN_ONE:
            inner = _mend(value, root, references, depth + 1)
            same = inner is value
        else:
            continue
        if not same:
            changed[keyword] = inner
    return {**node, **changed} if changed else node


def _target(root: Json, reference: str) -> Any:
    """What a local reference (RFC 6901 pointer) leads to; None when nothing."""
    node: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node


def _circular(root: Json, reference: str) -> bool:
    """Whether following a reference leads back to it."""
    seen: set[str] = set()
    ahead = [reference]
    while ahead:
        for found in _references(_target(root, ahead.pop()), 0):
            if found == reference:
                return True
            if found not in seen:
                seen.add(found)
                ahead.append(found)
    return False


def _references(node: Any, depth: int) -> list[str]:
    if depth > DEPTH_MAX:
        return []
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value, depth + 1)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value, depth + 1)]
    return []


def _flattened(root: Json) -> Json:
    """A root without alternatives: every branch's properties, required where all branches agree."""
    properties: Json = dict(root.get("properties") or {})
    required = set(root.get("required") or ())
    for keyword in ("allOf", "anyOf", "oneOf"):
        branches = [branch for branch in root.get(keyword) or () if isinstance(branch, dict)]
        for branch in branches:
            for name, property_ in (branch.get("properties") or {}).items():
                properties.setdefault(name, property_)
        needed = [set(branch.get("required") or ()) for branch in branches]
        if needed:
            required |= set.union(*needed) if keyword == "allOf" else set.intersection(*needed)
    rest = {key: value for key, value in root.items() if key not in ("allOf", "anyOf", "oneOf")}
    rest["properties"] = properties
    if required:
        rest["required"] = sorted(required)
    return rest
