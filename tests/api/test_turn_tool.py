"""`agent.run_turn` and what its turns keep, as an MCP client of a whole hub sees them."""

from __future__ import annotations

import re

import pytest

from tests.api.conftest import Scripted
from tests.gateway.requests import Modern, messages, open_session, request
from tests.hub.running import Json, Refused, Served

SCHEMA: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture
def client(served: Served) -> Modern:
    return Modern(served)


def run_turn(client: Modern, message: str, **more: object) -> Json:
    return client.call("agent.run_turn", message=message, session_id="tool", **more)


def test_the_turn_tool_says_which_bounds_and_which_form_it_takes(client: Modern) -> None:
    tools = {tool["name"]: tool for tool in client.request("tools/list")["tools"]}
    schema = tools["agent.run_turn"]["inputSchema"]
    limits = schema["properties"]["limits"]["properties"]
    assert set(limits) == {"rounds_max", "deadline_s", "tokens_max", "cost_usd_max"}
    assert all(limit["description"] for limit in limits.values())
    assert "`structured`" in schema["properties"]["output_schema"]["description"]
    assert "$ref" not in str(schema)
    assert "structured" in tools["agent.run_turn"]["outputSchema"]["properties"]


def test_an_answer_in_a_form_comes_back_as_a_value(client: Modern) -> None:
    result = run_turn(client, "as json", output_schema=SCHEMA)
    assert result["isError"] is False
    assert result["structuredContent"]["structured"] == {"city": "Bern"}
    assert result["structuredContent"]["status"] == "completed"


def test_a_form_that_is_no_json_schema_is_told_to_the_caller(client: Modern) -> None:
    result = run_turn(client, "as json", output_schema={"type": "town"})
    assert result["isError"] is True
    assert "output_schema is no JSON Schema" in result["content"][0]["text"]


def test_a_turn_ends_at_the_bound_that_its_caller_set_and_says_so(client: Modern) -> None:
    result = run_turn(client, "echo this", limits={"rounds_max": 1})
    assert result["isError"] is False
    assert result["structuredContent"]["status"] == "rounds_exhausted"
    assert [call["name"] for call in result["structuredContent"]["tool_calls"]] == ["old.echo"]
    tokens = run_turn(client, "echo this", limits={"tokens_max": 1})["structuredContent"]
    assert tokens["status"] == "tokens_exhausted"


def test_a_turn_that_is_out_of_time_fails_at_its_caller_s_deadline(client: Modern) -> None:
    result = run_turn(client, "hang", limits={"deadline_s": 0.5})
    assert result["isError"] is True
    assert re.search(r"0\.\d+ s", result["content"][0]["text"])


@pytest.mark.parametrize("limits", [{"rounds_max": 0}, {"deadline_s": -1}, {"rounds": 3}])
def test_bounds_that_mean_nothing_are_refused_by_name(client: Modern, limits: Json) -> None:
    result = run_turn(client, "hello", limits=limits)
    assert result["isError"] is True
    assert f"limits.{next(iter(limits))}" in result["content"][0]["text"]


def test_a_long_result_is_a_resource_that_clients_of_both_eras_read(
    client: Modern, served: Served, scripted: Scripted
) -> None:
    templates = client.request("resources/templates/list")["resourceTemplates"]
    assert "hub://results/{id}" in [template["uriTemplate"] for template in templates]
    run_turn(client, f"echo {'long ' * 5000}")
    shown = [text for asked in list(scripted.model.requests) for text in asked.results]
    [uri] = {found[0] for text in shown if (found := re.search(r"hub://results/\w+", text))}

    [content] = client.request("resources/read", {"uri": uri})["contents"]
    assert (content["uri"], content["mimeType"]) == (uri, "text/plain")
    assert content["text"].count("long") == 5000

    asked = request("resources/read", {"uri": uri})
    legacy = messages(served.http.post("/mcp", json=asked, headers=open_session(served)))[-1]
    assert legacy["result"]["contents"][0]["text"] == content["text"]


def test_a_result_that_is_not_kept_is_not_found(client: Modern, served: Served) -> None:
    with pytest.raises(Refused) as refused:
        client.request("resources/read", {"uri": "hub://results/res_none"})
    assert refused.value.error["code"] == -32602
    assert refused.value.error["data"] == {"uri": "hub://results/res_none"}
    asked = request("resources/read", {"uri": "hub://results/res_none"})
    legacy = messages(served.http.post("/mcp", json=asked, headers=open_session(served)))[-1]
    assert legacy["error"]["code"] == -32002
