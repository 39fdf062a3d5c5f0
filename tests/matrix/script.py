"""The script: everything that a client does with `everything.py`, step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types

from tests.matrix.conversation import Step, Talker

VALUES: tuple[Any, ...] = ({"a": {"b": [1, None]}}, [1, "two"], "text", 1.5, 10**20, False, [], "")


async def all_pages(fetch: Callable[..., Awaitable[Any]]) -> None:
    cursor = None
    while True:
        page = await fetch(cursor=cursor)
        cursor = page.next_cursor
        if cursor is None:
            return


def _lists() -> dict[str, Step]:
    return {
        "tools": lambda talker: all_pages(talker.client.list_tools),
        "resources": lambda talker: all_pages(talker.client.list_resources),
        "templates": lambda talker: all_pages(talker.client.list_resource_templates),
        "prompts": lambda talker: all_pages(talker.client.list_prompts),
    }


def _calls() -> dict[str, Step]:
    async def progress(talker: Talker) -> None:
        async def heard(progress: float, total: float | None, message: str | None) -> None:
            """Asking for progress is what matters; the wire writes it down."""

        await talker.client.call_tool(talker.name("progress"), {"steps": 3}, progress_callback=heard)

    async def meta(talker: Talker) -> None:
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x-own": {"n": 1}}
        await talker.client.call_tool(talker.name("meta"), {}, meta=trace)  # type: ignore[arg-type]

    def structured(value: Any) -> Step:
        return lambda talker: talker.call("structured", value=value)

    return {
        "echo": lambda talker: talker.call("echo", text="hé \U0001f30d \u2028 \x7f"),
        "echo with arguments against its schema": lambda talker: talker.call("echo", text=3),
        "progress": progress,
        "no progress": lambda talker: talker.call("progress", steps=2),
        "log": lambda talker: talker.call("log"),
        **{f"structured {value!r}": structured(value) for value in VALUES},
        "media": lambda talker: talker.call("media"),
        "raw": lambda talker: talker.call("raw"),
        "fail": lambda talker: talker.call("fail"),
        "error": lambda talker: talker.call("error", code=-32050),
        "error of a code that the protocol knows": lambda talker: talker.call("error", code=-32603),
        "meta": meta,
    }


def _questions() -> dict[str, Step]:
    def ask(*what: str, message: str) -> Step:
        return lambda talker: talker.call("ask", what=list(what), message=message)

    return {
        "form": ask("form", message="who?"),
        "form declined": ask("form", message="decline"),
        "form cancelled": ask("form", message="cancel"),
        "url": ask("url", message="consent"),
        "sample": ask("sample", message="hello"),
        "sample with tools": ask("sample_tools", message="hello"),
        "roots": ask("roots", message=""),
        "several at once": ask("form", "sample", "roots", message="all"),
        "prompt that asks": lambda talker: talker.client.get_prompt(talker.name("asking")),
        "resource that asks": lambda talker: talker.client.read_resource(talker.uri("asked")),
    }


def _reads() -> dict[str, Step]:
    def read(own: str) -> Step:
        return lambda talker: talker.client.read_resource(talker.uri(own))

    owns = ("text", "blob", "two", "last%20page", "item/a%2Fb", "more1/x/y?page=2&size=3")
    return {
        **{f"read {own}": read(own) for own in owns},
        "read what no server lists": read("nothing"),
        "read what its server does not have": read("item/missing"),
    }


def _prompts() -> dict[str, Step]:
    arguments = {"topic": "tea", "style": "blue"}
    return {
        "prompt": lambda talker: talker.client.get_prompt(talker.name("plain")),
        "rich prompt": lambda talker: talker.client.get_prompt(talker.name("rich"), arguments),
        "prompt on the second page": lambda talker: talker.client.get_prompt(talker.name("fifth")),
    }


def _completion() -> dict[str, Step]:
    async def of_prompt(talker: Talker) -> None:
        reference = types.PromptReference(type="ref/prompt", name=talker.name("rich"))
        argument = {"name": "style", "value": "ap"}
        await talker.client.complete(reference, argument, context_arguments={"topic": "tea"})

    async def of_template(talker: Talker) -> None:
        uri = talker.uri("item/{id}")
        reference = types.ResourceTemplateReference(type="ref/resource", uri=uri)
        await talker.client.complete(reference, {"name": "id", "value": "b"})

    return {"complete a prompt": of_prompt, "complete a template": of_template}


SCRIPT: dict[str, Step] = {
    **_lists(),
    **_calls(),
    **_questions(),
    **_reads(),
    **_prompts(),
    **_completion(),
}
