"""The agent as OpenAI's clients meet it, some of it with OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Scripted
from tests.hub.running import Json, Served, until


@pytest.fixture(scope="module")
def openai(served: Served) -> Iterator[Any]:
    """OpenAI's own client, pointed at the hub."""
    from openai import OpenAI

    with OpenAI(api_key=served.key, base_url=f"{served.url}/v1", max_retries=0) as client:
        yield client


def ask(served: Served, message: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    """One user message; returns the response."""
    body = {"model": "hub", "messages": [{"role": "user", "content": message}], **more}
    return served.http.post("/v1/chat/completions", json=body, headers=headers)


def chunks(lines: Iterator[str]) -> list[Json]:
    """The chunks of a stream, which must end as OpenAI's do."""
    said = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert said[-1] == "[DONE]"
    return [json.loads(line) for line in said[:-1]]


def test_openais_client_gets_an_answer_with_usage(openai: Any) -> None:
    answer = openai.chat.completions.create(model="hub", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "You said: hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert [model.id for model in openai.models.list()] == ["hub"]


def test_openais_client_gets_the_text_as_it_comes(openai: Any) -> None:
    stream = openai.chat.completions.create(
        model="hub",
        messages=[{"role": "user", "content": "slow, please"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces = list(stream)
    text = [piece.choices[0].delta.content or "" for piece in pieces if piece.choices]
    assert "".join(text) == "slowly " * 20
    assert sum(map(bool, text)) > 5
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-1].usage.completion_tokens > 0


def test_what_is_said_before_and_after_a_tool_is_parted(served: Served) -> None:
    body = {"messages": [{"role": "user", "content": "echo it"}], "stream": True}
    with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        assert response.headers["x-run-id"].startswith("run_")
        text = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks(response.iter_lines())]
    assert "".join(text) == "Let me see.\n\nThe tool said it."


def test_without_a_session_the_conversation_is_the_requests_own(served: Served) -> None:
    messages = [
        {"role": "system", "content": "Speak like a sailor."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": [{"type": "text", "text": "repeat the conversation"}]},
    ]
    answers = [served.http.post("/v1/chat/completions", json={"messages": messages}) for _ in range(2)]
    expected = "user: My name is Ada. | assistant: Hello Ada."
    assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == [expected, expected]
    assert answers[0].headers["x-session-id"] != answers[1].headers["x-session-id"]
    messages[-1] = {"role": "user", "content": "repeat the system"}
    answer = served.http.post("/v1/chat/completions", json={"messages": messages})
    assert "Speak like a sailor." in answer.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("by", ["header", "user"])
def test_a_named_session_is_kept_by_the_hub(served: Served, by: str) -> None:
    name = f"chat-{by}"
    more: Json = {"headers": {"x-session-id": name}} if by == "header" else {"user": name}
    assert ask(served, "one", **more).headers["x-session-id"] == name
    invented = [{"role": "user", "content": "never said"}, {"role": "assistant", "content": "nor this"}]
    body = {"messages": [*invented, {"role": "user", "content": "repeat the conversation"}], "user": name}
    answer = served.http.post("/v1/chat/completions", json=body, headers=more.get("headers"))
    assert answer.json()["choices"][0]["message"]["content"] == "user: one | assistant: You said: one"


def test_a_structured_answer_comes_whole(served: Served) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    plain = ask(served, "as json", response_format=form).json()
    assert json.loads(plain["choices"][0]["message"]["content"]) == {"city": "Bern"}
    body = {"messages": [{"role": "user", "content": "as json"}], "response_format": form, "stream": True}
    with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        text = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks(response.iter_lines())]
    assert json.loads("".join(text)) == {"city": "Bern"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": []}, 400),
        ({"messages": [{"role": "assistant", "content": "I begin"}]}, 400),
        ({"messages": [{"role": "user", "content": "hi"}], "n": 2}, 400),
        ({"messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}]}, 400),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400),
        ({"messages": [{"role": "user", "content": "hi"}], "user": "x" * 200}, 400),
        ({"messages": [{"role": "user", "content": "fail"}]}, 502),
    ],
)
def test_errors_have_openais_shape(served: Served, body: Json, status: int) -> None:
    answer = served.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")


def test_an_error_in_the_middle_of_a_stream_is_told_in_it(openai: Any) -> None:
    from openai import APIError

    stream = openai.chat.completions.create(
        model="hub", messages=[{"role": "user", "content": "fail"}], stream=True
    )
    with pytest.raises(APIError, match="no such key"):
        list(stream)


def test_whoever_stops_reading_stops_the_turn(served: Served, scripted: Scripted) -> None:
    abandoned = scripted.model.abandoned
    body = {"messages": [{"role": "user", "content": "slow, and I leave"}], "stream": True, "user": "leaves"}
    with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if "slowly" in line:
                break
    until(lambda: scripted.model.abandoned > abandoned, "the end of the model's request")
    until(
        lambda: all(run["session_id"] != "leaves" for run in served.http.get("/runs").json()["runs"]),
        "the end of the turn",
    )
