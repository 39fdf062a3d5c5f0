"""Write what is generated from the code: `uv run python tools/generate.py [--check]`.

    docs/configuration.md      the reference of hub.toml and mcp.json
    configs/hub.schema.json    JSON Schema of hub.toml
    configs/mcp.schema.json    JSON Schema of mcp.json

With `--check` nothing is written; it fails when a file is not what it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from hub.mcp_json import FileModel
from hub.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

Schema = dict[str, Any]


class _FileSchema(GenerateJsonSchema):
    """A schema for people who write files: an absent key is left out, never written as null."""

    def nullable_schema(self, schema: Any) -> Schema:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> Schema:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made


def hub_schema() -> Schema:
    """JSON Schema of `hub.toml`."""
    made = Settings.model_json_schema(schema_generator=_FileSchema)
    made["title"] = "hub.toml"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(made)}


def mcp_schema() -> Schema:
    """JSON Schema of `mcp.json`."""
    made = FileModel.model_json_schema(schema_generator=_FileSchema)
    made["title"] = "mcp.json"
    made["$defs"]["EntryModel"]["anyOf"] = [{"required": ["command"]}, {"required": ["url"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(made)}


def _tidy(schema: Any) -> Any:
    """Without the titles that only repeat a key, and with descriptions on one line."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy: Schema = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str) and "type" in schema and "properties" not in schema:
            continue
        if key == "description" and isinstance(value, str):
            tidy[key] = " ".join(value.split())
        else:
            tidy[key] = _tidy(value)
    return tidy


def configuration_page() -> str:
    """`docs/configuration.md`."""
    template = (ROOT / "docs" / "configuration.template.md").read_text(encoding="utf-8")
    settings = "\n".join(_settings_reference(hub_schema()))
    definitions = mcp_schema()["$defs"]
    entry = "\n".join(_rows(definitions["EntryModel"], definitions, ""))
    page = template.replace("{{settings}}", settings).replace("{{entry}}", entry)
    assert "{{" not in page, "the template names something that is not generated"
    return page


def _settings_reference(schema: Schema) -> Iterator[str]:
    definitions = schema["$defs"]
    tables = {key: one for key, one in schema["properties"].items() if _table(one, definitions)}
    plain = {key: one for key, one in schema["properties"].items() if key not in tables}
    yield "### The top of the file\n"
    yield from _rows({"properties": plain}, definitions, "HUB_")
    for key, one in tables.items():
        table = _table(one, definitions)
        assert table is not None
        meaning = table["description"].partition(": ")[2]
        yield f"\n### `[{key}]`\n"
        if meaning:
            yield f"{meaning[0].upper()}{meaning[1:]}\n"
        yield from _rows(table, definitions, f"HUB_{key.upper()}__")


def _table(schema: Schema, definitions: Schema) -> Schema | None:
    """The definition behind a setting that is a table; None for one that is a value."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    definition = definitions.get(name)
    return definition if definition and "properties" in definition else None


def _rows(table: Schema, definitions: Schema, prefix: str) -> Iterator[str]:
    variable = " variable |" if prefix else ""
    yield f"| key | value | default |{variable} what it does |"
    yield "|---|---|---|" + ("---|" if prefix else "") + "---|"
    for key, schema in table["properties"].items():
        cells = [f"`{key}`", _value(schema, definitions), _default(schema)]
        if prefix:
            cells.append(f"`{prefix}{key.upper()}`")
        cells.append(schema.get("description", ""))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(schema: Schema, definitions: Schema) -> str:
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_value(one, definitions) for one in schema["anyOf"])
    kinds = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    if schema.get("type") == "array":
        return f"list of {_value(schema.get('items', {}), definitions)}"
    if schema.get("type") == "object":
        of_text = schema.get("additionalProperties", {}) == {"type": "string"}
        return "table of text by name" if of_text else "table"
    kind = "folder" if schema.get("format") == "path" else kinds.get(str(schema.get("type")), "any")
    return kind + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if above is not None:
        return f", over {above:,}" + (f" up to {high:,}" if high is not None else "")
    if low is not None:
        return f", at least {low:,}"
    return f", at most {high:,}" if high is not None else ""


def _default(schema: Schema) -> str:
    if "default" not in schema or schema["default"] in ({}, []):
        return "–"
    default = schema["default"]
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{json.dumps(default)}`"


def outputs() -> dict[Path, str]:
    """Every generated file and what it must hold."""

    def text(schema: Schema) -> str:
        return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"

    return {
        ROOT / "docs" / "configuration.md": configuration_page(),
        ROOT / "configs" / "hub.schema.json": text(hub_schema()),
        ROOT / "configs" / "mcp.schema.json": text(mcp_schema()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what is generated from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is stale")
    check: bool = parser.parse_args().check
    stale = [
        (file, text)
        for file, text in outputs().items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    for file, text in stale:
        if not check:
            file.write_text(text, encoding="utf-8")
        print(f"{file.relative_to(ROOT)} {'is out of date' if check else 'written'}")
    if check and stale:
        sys.exit("run `uv run python tools/generate.py`")


if __name__ == "__main__":
    main()
