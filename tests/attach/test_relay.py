"""An attachment from its client's side, with a fake hub behind a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from hub.home import Home
from tests.attach.client import Attachment, hub_pid, is_alive, kill_hub, until

Attach = Callable[..., Attachment]


def seen(client: Attachment) -> list[str]:
    """The methods that the hub has seen on this client's present connection, without its own calls."""
    return [method for method, _ in client.call("seen")["seen"] if method != "tools/call"]


def unanswered(client: Attachment, method: str, params: dict[str, Any] | None = None) -> int:
    """Send a request that the hub takes and will not answer; returns its id."""
    client.call("deafen")
    request_id = client.send(method, params)
    assert client.receive()["params"] == {"method": method}
    return request_id


# -- while all is well


def test_the_first_attachment_starts_a_hub_and_reaches_it(attach: Attach, home: Home) -> None:
    client = attach()
    assert client.open() == hub_pid(home)
    assert client.call("echo", text="hä \u2028") == {"text": "hä \u2028"}


def test_a_second_attachment_shares_the_hub(attach: Attach) -> None:
    assert attach().open() == attach().open()


def test_attachments_that_start_at_the_same_instant_yield_one_hub(attach: Attach) -> None:
    clients = [attach("--starts-in", "0.05") for _ in range(4)]
    assert len({client.open() for client in clients}) == 1


def test_malformed_json_reaches_the_hub_which_answers_it(attach: Attach) -> None:
    client = attach()
    client.write(b'{"jsonrpc": "2.0", oops\n')
    assert client.receive()["error"]["code"] == -32700
    assert client.call("echo", text="on") == {"text": "on"}


def test_lines_arrive_whole_however_they_were_cut(attach: Attach) -> None:
    client = attach()
    client.open()
    request = json.dumps(
        {"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "echo"}}
    ).encode()
    client.write(request[:20])
    time.sleep(0.05)
    client.write(request[20:] + b"\n" + request.replace(b'"a"', b'"b"') + b"\n" + request[:5])
    client.write(request[5:].replace(b'"a"', b'"c"') + b"\n")
    assert [client.receive()["id"] for _ in range(3)] == ["a", "b", "c"]


def test_a_line_over_the_hubs_limit_is_refused_and_the_next_one_is_taken(attach: Attach) -> None:
    client = attach("--message-bytes-max", "200000")
    client.open()
    client.write(b'{"jsonrpc":"2.0","id":99,"method":"tools/call","params":"' + b"x" * 3_000_000 + b'"}\n')
    refusal = client.receive()
    assert (refusal["id"], refusal["error"]["data"]["error"]) == (99, "TooLarge")
    assert "200,000 bytes" in refusal["error"]["message"]
    assert client.call("echo", text="on") == {"text": "on"}


def test_a_large_answer_comes_through(attach: Attach) -> None:
    client = attach()
    client.open()
    assert len(client.call("big", size=10_000_000)["text"]) == 10_000_000


def test_the_hub_can_ask_the_client(attach: Attach) -> None:
    client = attach()
    client.open()
    client.send("tools/call", {"name": "ask"})
    question = client.receive()
    client.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": {"yes": 1}}).encode() + b"\n")
    assert client.receive()["result"] == {"answered": {"yes": 1}}


def test_loopback_tcp_with_a_secret_serves_where_there_are_no_unix_sockets(
    attach: Attach, home: Home
) -> None:
    client = attach("--tcp")
    client.open()
    address = json.loads(home.address_file.read_text())
    assert address["port"]
    assert address["secret"]
    assert home.address_file.stat().st_mode & 0o777 == 0o600
    assert client.call("echo", text="on") == {"text": "on"}


# -- the hub that was started


def test_a_started_hub_depends_on_nothing_of_its_client(attach: Attach, home: Home) -> None:
    environ = os.environ | {
        "OPENAI_API_KEY": "sk-secret",
        "HUB_MODEL": "x",
        "PYTHONPATH": ".",
        "LC_ALL": "C.UTF-8",
    }
    client = attach(env=environ)
    client.open()
    found = client.call("surroundings")
    assert not {"OPENAI_API_KEY", "HUB_MODEL", "PYTHONPATH"} & found["environ"].keys()
    assert found["environ"]["LC_ALL"] == "C.UTF-8"
    assert found["environ"]["PATH"] == os.environ["PATH"]
    assert found["cwd"] == str(home.root)
    assert found["session"] != os.getsid(0)
    assert found["stdin"] == ""
    assert found["parent"] not in (client.process.pid, os.getpid())
    assert home.root.stat().st_mode & 0o777 == 0o700


def test_a_started_hub_outlives_the_attachment_that_was_killed(attach: Attach) -> None:
    first = attach()
    pid = first.open()
    first.process.kill()
    first.wait()
    assert is_alive(pid)
    assert attach().open() == pid


# -- the hub ends


def test_when_the_hub_is_killed_calls_in_flight_fail_and_the_conversation_goes_on(attach: Attach) -> None:
    client = attach()
    first = client.open()
    client.send("logging/setLevel", {"level": "debug"})
    client.receive()
    hanging = unanswered(client, "tools/call", {"name": "pay"})
    os.kill(first, signal.SIGKILL)

    failed = client.receive()
    assert failed["id"] == hanging
    assert failed["error"]["data"] == {"error": "HubRestarted"}
    assert "may or may not have run" in failed["error"]["message"]
    # Only what the hub declared to change is announced; the answers to the replay are not shown.
    assert client.receive() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    assert seen(client) == ["initialize", "notifications/initialized", "logging/setLevel"]
    assert client.call("surroundings")["pid"] != first


def test_requests_that_only_ask_are_asked_again(attach: Attach) -> None:
    client = attach()
    first = client.open()
    listing = unanswered(client, "tools/list")
    os.kill(first, signal.SIGKILL)
    messages = [client.receive(), client.receive()]
    [answer] = [message for message in messages if "id" in message]
    assert answer["id"] == listing
    assert answer["result"]["pid"] != first


def test_an_initialize_that_the_dead_hub_never_answered_is_answered_by_the_next(
    attach: Attach, home: Home
) -> None:
    client = attach()
    opening = unanswered(client, "initialize", {"protocolVersion": "2025-06-18"})
    kill_hub(home)
    answer = client.receive()
    assert answer["id"] == opening
    assert answer["result"]["pid"] == hub_pid(home)


def test_subscriptions_follow_to_the_next_hub_and_those_given_up_do_not(attach: Attach, home: Home) -> None:
    client = attach()
    client.open()
    for method, uri in (("subscribe", "a:1"), ("subscribe", "a:2"), ("unsubscribe", "a:1")):
        client.send(f"resources/{method}", {"uri": uri})
        client.receive()
    kill_hub(home)
    assert client.receive()["method"] == "notifications/tools/list_changed"
    assert seen(client) == ["initialize", "notifications/initialized", "resources/subscribe"]


def test_a_modern_subscription_is_made_again_and_told_of_changed_lists(attach: Attach, home: Home) -> None:
    client = attach()
    listening = client.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    client.call("echo")
    kill_hub(home)
    news = client.receive()
    assert news["method"] == "notifications/tools/list_changed"
    assert news["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": listening}
    assert seen(client) == ["subscriptions/listen"]


def test_what_a_dead_hub_asked_is_withdrawn_and_a_late_answer_is_dropped(attach: Attach, home: Home) -> None:
    client = attach()
    client.open()
    asking = client.send("tools/call", {"name": "ask"})
    question = client.receive()
    kill_hub(home)
    messages = [client.receive() for _ in range(3)]
    assert {"failed": asking, "withdrawn": question["id"]} == {
        "failed": next(message["id"] for message in messages if "error" in message),
        "withdrawn": next(
            message["params"]["requestId"]
            for message in messages
            if message.get("method", "").endswith("cancelled")
        ),
    }
    client.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": {}}).encode() + b"\n")
    assert "answer" not in seen(client)


def test_cancelled_requests_are_not_answered_when_the_hub_dies(attach: Attach, home: Home) -> None:
    client = attach()
    client.open()
    hanging = unanswered(client, "tools/call", {"name": "pay"})
    client.send("notifications/cancelled", {"requestId": hanging}, notify=True)
    assert client.receive()["params"] == {"method": "notifications/cancelled"}
    kill_hub(home)
    assert client.receive()["method"] == "notifications/tools/list_changed"


def test_a_request_that_ends_every_hub_is_not_repeated_for_ever(attach: Attach) -> None:
    client = attach("--dies-on", "tools/list")
    client.open()
    listing = client.send("tools/list")
    while "id" not in (answer := client.receive()):
        assert answer["method"] == "notifications/tools/list_changed"
    assert (answer["id"], answer["error"]["data"]["error"]) == (listing, "HubRestarted")

    def works() -> bool:
        client.send("ping")
        while "id" not in (answer := client.receive()):
            pass
        return "result" in answer

    until(works, "a hub that lives")


def test_all_attachments_meet_again_at_one_new_hub(attach: Attach, home: Home) -> None:
    clients = [attach() for _ in range(3)]
    for client in clients:
        client.open()
    kill_hub(home)
    assert {client.receive()["method"] for client in clients} == {"notifications/tools/list_changed"}
    assert len({client.call("surroundings")["pid"] for client in clients}) == 1


def test_every_request_is_answered_once_however_often_the_hub_is_killed(attach: Attach, home: Home) -> None:
    clients = [attach() for _ in range(3)]
    for client in clients:
        client.open()
    answered, failed = 0, 0
    for kills in range(4):
        sent = {
            client: [client.send("tools/call", {"name": "echo"}) for _ in range(200)] for client in clients
        }
        with contextlib.suppress(
            AssertionError, ProcessLookupError
        ):  # between two hubs there is none to kill
            kill_hub(home)
        for client in clients:
            sent[client] += [client.send("tools/call", {"name": "echo"}) for _ in range(20)]
        for client, request_ids in sent.items():
            waiting = set(request_ids)
            while waiting:
                message = client.receive()
                if "id" in message:
                    waiting.remove(message["id"])
                    answered += "result" in message
                    failed += "error" in message
        assert answered + failed == (kills + 1) * len(clients) * 220
    assert answered > 0


# -- the hub cannot start


def test_a_hub_that_cannot_start_is_explained_in_every_answer(attach: Attach) -> None:
    client = attach("--fail", "hub.toml: model: must be a string")
    for _ in range(2):
        request = client.send("tools/list")
        answer = client.receive()
        assert answer["id"] == request
        assert "hub.toml: model: must be a string" in answer["error"]["message"]
    client.close_input()
    assert client.wait() == 0
    assert sum("hub.toml: model" in remark for remark in client.remarks) == 1


def test_a_hub_that_crashes_at_its_start_is_quoted_from_its_log(attach: Attach, home: Home) -> None:
    client = attach("--crash")
    client.send("tools/list")
    message = client.receive()["error"]["message"]
    assert "Traceback: something broke" in message
    assert str(home.log_file) in message


def test_once_the_trouble_is_mended_the_same_attachment_works(
    attach: Attach, home: Home, tmp_path: object
) -> None:
    client = attach("--fail", "no")
    client.send("tools/list")
    assert "error" in client.receive()
    other = attach()
    pid = other.open()

    def works() -> bool:
        client.send("tools/list")
        answer = client.receive()
        return bool(answer.get("result", {}).get("pid") == pid)

    until(works, "an answer from the hub")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_home_that_cannot_be_written_is_named_in_the_answer(attach: Attach, home: Home) -> None:
    home.root.parent.chmod(0o500)
    client = attach()
    client.send("tools/list")
    message = client.receive()["error"]["message"]
    home.root.parent.chmod(0o700)
    assert str(home.root) in message
    assert "--home" in message


def test_a_home_that_is_a_file_is_named_in_the_answer(attach: Attach, home: Home) -> None:
    home.root.write_text("not a folder")
    client = attach()
    client.send("tools/list")
    assert str(home.root) in client.receive()["error"]["message"]


def test_a_home_whose_owner_never_listens_is_taken_over_when_that_one_ends(
    attach: Attach, home: Home
) -> None:
    program = "import sys; from hub.home import Home; from hub.lock import HomeLock; "
    program += "HomeLock(Home.at(sys.argv[1])).acquire(); print(flush=True); input()"
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    owner.stdout.readline()
    client = attach()
    client.send("ping")
    until(
        lambda: "hub.lock" in os.listdir(home.root) and home.log_file.exists(), "a first try to start a hub"
    )
    with pytest.raises(queue.Empty):
        client.receive(0.5)
    owner.communicate(b"\n")
    assert client.receive()["result"]["pid"] == hub_pid(home)


# -- the client ends


def test_the_attachment_ends_with_its_client_and_the_hub_notices(attach: Attach, home: Home) -> None:
    client = attach()
    client.open()
    client.close_input()
    assert client.wait(5) == 0
    assert client.silent()
    watcher = attach()
    watcher.open()
    assert is_alive(hub_pid(home))


def test_answers_still_due_are_delivered_before_the_attachment_ends(attach: Attach) -> None:
    client = attach()
    client.open()
    late = client.send("tools/call", {"name": "later", "arguments": {"seconds": 0.3}})
    client.write(
        b'{"jsonrpc":"2.0","id":"unended","method":"tools/call","params":{"name":"echo","arguments":{}}}'
    )
    client.close_input()
    assert {client.receive()["id"], client.receive()["id"]} == {late, "unended"}
    assert client.wait() == 0


def test_requests_piped_in_before_any_hub_runs_are_all_answered(home: Home) -> None:
    requests = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "echo", "arguments": {}}}
        for number in range(100)
    ]
    script = os.path.join(os.path.dirname(__file__), "attach_to_fake.py")
    done = subprocess.run(
        [sys.executable, script, str(home.root)],
        input="\n".join(json.dumps(request) for request in requests),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == list(range(100))


def test_an_open_subscription_does_not_hold_the_attachment_back(attach: Attach) -> None:
    client = attach()
    client.send("subscriptions/listen", {"notifications": {}})
    client.call("echo")
    client.close_input()
    assert client.wait(5) == 0


def test_a_client_that_no_longer_reads_ends_the_attachment_at_once(attach: Attach) -> None:
    reading, writing = os.pipe()
    client = attach(stdout=writing)
    os.close(writing)
    client.send("tools/call", {"name": "later", "arguments": {"seconds": 3600}})
    client.send("tools/call", {"name": "echo", "arguments": {}})
    assert b'"id":2' in os.read(reading, 10_000)
    client.close_input()
    os.close(reading)
    assert client.wait(5) == 0


def test_what_is_being_delivered_is_delivered_before_the_attachment_ends(attach: Attach) -> None:
    reading, writing = os.pipe()
    client = attach(stdout=writing)
    os.close(writing)
    client.send("tools/call", {"name": "big", "arguments": {"size": 1_000_000}})
    client.close_input()
    select.select([reading], [], [], 10)
    # The answer has come, and the rest of it does not fit into the pipe.
    with pytest.raises(subprocess.TimeoutExpired):
        client.process.wait(0.3)
    with open(reading, "rb") as answers:
        assert json.loads(answers.read())["id"] == 1
    assert client.wait() == 0


# -- versions


def test_an_older_hub_that_nobody_uses_is_replaced(attach: Attach, home: Home) -> None:
    old = attach("--version", "0.0.9")
    old_pid = old.open()
    old.close_input()
    old.wait()
    client = attach()
    assert client.open() != old_pid
    assert not is_alive(old_pid)


def test_an_older_hub_that_others_use_is_kept(attach: Attach) -> None:
    old = attach("--version", "0.0.9")
    assert old.open() == attach().open()


def test_a_newer_hub_is_never_replaced(attach: Attach) -> None:
    new = attach("--version", "99.0")
    new_pid = new.open()
    new.close_input()
    new.wait()
    assert attach().open() == new_pid
