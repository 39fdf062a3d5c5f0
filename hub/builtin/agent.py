"""The agent as a tool: `agent.run_turn`, and what its turns keep, as resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from hub.builtin.parts import Parts
from hub.builtin.servers import (
    OPTIONAL_STRING,
    STRING,
    STRINGS,
    Arguments,
    BuiltinResource,
    BuiltinTool,
    object_schema,
)
from hub.calls import Call, Json

if TYPE_CHECKING:
    from hub.agent import Event


class TurnLimits(Arguments):
    """Bounds of one turn that are tighter than the hub's own; looser ones change nothing."""

    model_config = ConfigDict(strict=True)

    rounds_max: int | None = Field(
        default=None, gt=0, description="How many times it may go back to the model with tool results."
    )
    deadline_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="How long it may take, in seconds."
    )
    tokens_max: int | None = Field(
        default=None, gt=0, description="How many tokens it may read and write in all."
    )
    cost_usd_max: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="What it may cost, in US dollars."
    )


class TurnArguments(Arguments):
    message: str = Field(min_length=1, description="What the agent should do.")
    session_id: str = Field(
        default="default", min_length=1, max_length=128, description="The conversation to go on with."
    )
    limits: TurnLimits = Field(
        default_factory=TurnLimits,
        description="Bounds of this turn, where they are tighter than the hub's own. At a bound it answers "
        "with what it has, and `status` says which one it was.",
    )
    output_schema: dict[str, Any] | None = Field(
        default=None,
        description="A JSON Schema that the answer must fit; the value comes back as `structured`.",
    )


def results(parts: Parts) -> BuiltinResource:
    """`hub://results/{id}`: tool results that were too long for the agent's model to read whole."""

    async def read(call: Call, uri: str) -> Json:
        from hub.agent.results import URI_PREFIX

        sessions = await parts.sessions()
        return {"mimeType": "text/plain", "text": await sessions.result(uri.removeprefix(URI_PREFIX))}

    return BuiltinResource(
        uri_template="hub://results/{id}",
        name="results",
        title="A long tool result",
        description="The whole of a tool result that was too long for the agent's model. Its turn names the "
        "URI where the result was cut; each session keeps its latest.",
        mime_type="text/plain",
        read=read,
    )


def run_turn(parts: Parts) -> BuiltinTool:
    """`agent.run_turn`."""

    async def run(call: Call, arguments: TurnArguments) -> Json:
        from hub.agent import Limits

        agent = await parts.agent()
        steps = 0

        def on_event(event: Event) -> None:
            nonlocal steps
            said = event.to_json()
            if said["type"] != "model.delta":
                steps += 1
                call.progress(steps, None, _step(said))

        result = await agent.run_turn(
            call.caller,
            arguments.session_id,
            arguments.message,
            on_event=on_event,
            limits=Limits(**arguments.limits.model_dump()),
            output_schema=arguments.output_schema,
        )
        return result.to_json()

    return BuiltinTool(
        name="run_turn",
        title="Run a turn of the hub's agent",
        description="Hand a task to the hub's own agent. It recalls what helped before, uses every tool of "
        "the hub, answers, and remembers what it did. A session keeps its conversation.",
        arguments=TurnArguments,
        output=object_schema(
            {
                "output": STRING,
                "session_id": STRING,
                "run_id": STRING,
                "status": STRING,
                "model": STRING,
            },
            {
                "recall_id": OPTIONAL_STRING,
                "tool_calls": {"type": "array", "items": {"type": "object"}},
                "usage": {"type": "object"},
                "warnings": STRINGS,
                "structured": {
                    "description": "The answer's value, when `output_schema` was given.",
                    # Every type by name, because some clients refuse a schema that says nothing.
                    "anyOf": [
                        {"type": type_}
                        for type_ in ("object", "array", "string", "number", "boolean", "null")
                    ],
                },
            },
        ),
        # It may call any tool there is, so it may do what any of them may do.
        annotations={"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
        run=run,
        text=lambda result: str(result["output"]),
    )


_STEPS: Mapping[str, Callable[[Json], str]] = {
    "run.started": lambda event: "begins",
    "recall": lambda event: f"recalls {_count(len(event['episode_ids']), 'episode')}",
    "context.compacted": lambda event: "sums up what came before",
    "message.added": lambda event: "takes another message in",
    "model.asked": lambda event: f"asks {event['model']}",
    "model.restarted": lambda event: f"asks again: {event['reason']}",
    "tool.started": lambda event: f"calls {event['name']}",
    "tool.progress": lambda event: event["message"] or f"{event['progress']:g} of {event['total'] or '?'}",
    "tool.finished": lambda event: f"{event['name']} {'is done' if event['ok'] else 'failed'}",
    "reply": lambda event: "answers",
    "run.finished": lambda event: "is done",
    "run.failed": lambda event: "failed",
}


def _step(event: Json) -> str:
    """One step of a turn, in words for a person who waits."""
    return _STEPS[event["type"]](event)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number or 'no'} {noun}s"
