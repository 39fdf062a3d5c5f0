"""The commands against a hub that runs: what is printed, where, and how they end."""

from __future__ import annotations

import io
import json
import os

import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("running_hub")


def test_tools_are_listed_by_public_name_with_the_first_sentence_of_what_they_do(cli: Cli) -> None:
    code, out, err = cli("tools", "list")
    assert code == 0
    assert "bench.add" in out
    assert "Add numbers." in out
    assert "Nothing else" not in out
    assert err == ""


def test_tools_are_found_by_what_they_do(cli: Cli) -> None:
    _, out, _ = cli("tools", "search", "adding up numbers", "--json")
    assert json.loads(out)["tools"][0]["name"] == "bench.add"
    assert "All tools: hub tools list" in cli("tools", "search", "zebra")[1]


def test_square_brackets_of_a_server_are_shown_and_not_read_as_markup(cli: Cli) -> None:
    _, out, _ = cli("tools", "list")
    assert "Fail as tools do [always]." in out
    _, _, err = cli("tools", "call", "bench.fail")
    assert "no [luck] today" in err


def test_in_a_pipe_each_row_is_one_line_however_narrow_terminals_are(cli: Cli) -> None:
    _, out, _ = cli("tools", "list")
    assert len([line for line in out.splitlines() if line.startswith("bench.")]) == 4
    assert "\x1b" not in out


def test_json_is_exactly_one_document_with_the_hub_s_own_definitions(cli: Cli) -> None:
    code, out, _ = cli("tools", "list", "--json")
    assert code == 0
    assert "bench.add" in [tool["name"] for tool in json.loads(out)["tools"]]


def test_common_options_are_accepted_before_the_command_too(cli: Cli) -> None:
    _, out, _ = cli("--json", "tools", "list")
    assert "tools" in json.loads(out)


def test_a_tool_is_shown_with_what_it_takes(cli: Cli) -> None:
    code, out, _ = cli("tools", "show", "add")
    assert code == 0
    assert "bench.add" in out
    assert "read-only" in out
    assert "What to add." in out
    assert "hub tools call bench.add numbers=<array> [round=<boolean>]" in out


def test_a_call_reads_its_words_by_the_schema_and_prints_the_text_alone(cli: Cli) -> None:
    code, out, err = cli("tools", "call", "bench.add", "numbers=1", "numbers=2.5")
    assert (code, out, err) == (0, "3.5\n", "")


def test_a_call_takes_a_json_object_from_an_option_a_file_and_stdin(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    text = '{"numbers": [1, 2]}'
    assert cli("tools", "call", "bench.add", "--arguments", text)[1] == "3\n"
    with open("arguments.json", "w", encoding="utf-8") as file:
        file.write(text)
    assert cli("tools", "call", "bench.add", "-a", "@arguments.json")[1] == "3\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert cli("tools", "call", "bench.add", "-")[1] == "3\n"


def test_a_tool_s_own_error_goes_to_stderr_and_ends_with_1(cli: Cli) -> None:
    code, out, err = cli("tools", "call", "bench.fail")
    assert (code, out) == (1, "")
    assert err == "bench.fail answered with an error: no [luck] today\n"
    code, out, _ = cli("tools", "call", "bench.fail", "--json")
    assert code == 1
    assert json.loads(out)["isError"] is True


def test_a_server_that_is_away_is_named(cli: Cli) -> None:
    code, out, err = cli("tools", "call", "bench.lost")
    assert (code, out) == (1, "")
    assert err == "hub: server 'bench': is away\n"


def test_an_unknown_tool_ends_with_2_and_a_hint(cli: Cli) -> None:
    code, _, err = cli("tools", "call", "bench.ad", "numbers=1")
    assert code == 2
    assert "did you mean bench.add" in err
    code, out, _ = cli("tools", "call", "bench.ad", "--json")
    assert code == 2
    assert json.loads(out)["error"]["data"]["error"] == "UnknownName"


def test_progress_is_told_on_stderr_while_the_call_runs(cli: Cli) -> None:
    code, out, err = cli("tools", "call", "bench.count", "to=2")
    assert (code, out) == (0, "counted\n")
    assert err == "  … 1/2  at 1\n  … 2/2  at 2\n"


def test_what_is_stored_is_recalled_rated_and_forgotten(cli: Cli) -> None:
    code, out, _ = cli(
        "memory", "store", "The staging key lives in the vault.", "--outcome", "found it", "--json"
    )
    assert code == 0
    episode_id = json.loads(out)["episode_id"]
    _, out, _ = cli("memory", "recall", "where is the staging key", "--json")
    recall = json.loads(out)
    assert recall["hits"][0]["episode"]["episode_id"] == episode_id
    _, out, _ = cli("memory", "recall", "where is the staging key")
    assert "The staging key lives in the vault." in out
    assert episode_id in out
    _, out, _ = cli("memory", "feedback", recall["recall_id"], "1", "--used", episode_id, "--json")
    (changed,) = json.loads(out)["changed"]
    assert changed["episode_id"] == episode_id
    assert changed["after"] > changed["before"]
    assert "1 episode forgotten" in cli("memory", "forget", episode_id)[1]
    code, _, err = cli("memory", "forget", episode_id)
    assert code == 2
    assert episode_id in err


def test_a_project_s_memory_is_its_folder_s_and_global_is_everyone_s(cli: Cli) -> None:
    cli("memory", "store", "Only here.")
    cli("memory", "store", "For all.", "--scope", "global")
    _, out, _ = cli("memory", "list", "--scope", "global", "--json")
    assert [episode["experience"] for episode in json.loads(out)["episodes"]] == ["For all."]
    _, out, _ = cli("memory", "list", "--json")
    assert len(json.loads(out)["episodes"]) == 2


def test_a_scope_is_forgotten_only_when_it_was_said_twice(cli: Cli) -> None:
    cli("memory", "store", "For all.", "--scope", "global")
    code, _, err = cli("memory", "forget", "--scope", "global", "--json")
    assert code == 2
    assert "--yes" in err
    code, _, _ = cli("memory", "forget", "--scope", "global", "--yes")
    assert code == 0
    assert json.loads(cli("memory", "list", "--json")[1]) == {"episodes": []}


def test_feedback_on_something_that_is_no_id_says_what_ids_look_like(cli: Cli) -> None:
    code, _, err = cli("memory", "feedback", "yesterday", "1")
    assert code == 2
    assert "rc_" in err


def test_an_empty_memory_says_how_to_fill_it(cli: Cli) -> None:
    assert "hub memory store" in cli("memory", "list")[1]
    assert "Nothing is remembered" in cli("memory", "recall", "anything")[1]
    assert cli("memory", "stats")[0] == 0


def test_sessions_are_empty_at_first_and_an_unknown_one_ends_with_2(cli: Cli) -> None:
    assert "hub run" in cli("sessions", "list")[1]
    code, _, err = cli("sessions", "show", "nope")
    assert code == 2
    assert "nope" in err


def test_status_says_how_the_hub_and_its_servers_are(cli: Cli) -> None:
    code, out, _ = cli("status")
    assert code == 0
    assert "bench" in out
    assert "ready" in out
    _, out, _ = cli("status", "--json")
    assert json.loads(out)["running"] is True


def test_a_server_that_fails_its_test_ends_with_1(cli: Cli) -> None:
    code, out, _ = cli("servers", "test", "bench")
    assert code == 1
    assert "is away" in out


def test_stdio_answers_each_line_and_goes_on_after_a_turn_that_failed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hello\n\nagain")
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code, out, err = cli("stdio", "--json")
    assert code == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["error"]["message"] for answer in answers] == ["there is no agent in this hub"] * 2
    assert err.count("there is no agent") == 2


def test_stop_returns_once_the_home_is_free_and_a_second_stop_says_so(cli: Cli) -> None:
    assert cli("stop") == (0, "Stopped.\n", "")
    assert cli("stop") == (0, "No hub was running.\n", "")
    code, out, _ = cli("status", "--json")
    assert code == 3
    assert json.loads(out)["running"] is False
