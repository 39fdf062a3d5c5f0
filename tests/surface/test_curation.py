"""The `tools` of an entry: what of a server is shown, and under which words."""

from __future__ import annotations

import pytest

from hub.curation import tool_rules
from hub.errors import ConfigError
from tests.hub.running import Refused
from tests.surface.conftest import Attach


def test_only_what_is_allowed_and_not_denied_is_listed(attach: Attach) -> None:
    shown = {name for name in attach().tools() if name.startswith("curated.")}
    assert shown == {
        "curated.echo",
        "curated.five",
        *(f"curated.extra_000{number}" for number in range(6, 10)),
    }


@pytest.mark.parametrize("name", ["curated.big", "curated.extra_0001", "curated.extra_0005"])
def test_what_is_not_shown_cannot_be_called(attach: Attach, name: str) -> None:
    with pytest.raises(Refused, match="Unknown tool"):
        attach().call(name, bytes=1, text="hi")


def test_a_tool_goes_by_its_new_name_and_words(attach: Attach) -> None:
    client = attach()
    assert client.tools()["curated.five"]["description"] == "The fifth, in other words."
    assert client.call("curated.five", value="hi")["content"]


def test_a_bare_list_says_what_is_allowed(attach: Attach) -> None:
    assert {name for name in attach().tools() if name.startswith("listed.")} == {"listed.echo"}


def test_an_entry_whose_rules_are_wrong_is_left_out_and_named(attach: Attach) -> None:
    client = attach()
    status = client.status()
    assert "wrong" not in {server["name"] for server in status["servers"]}
    assert any("wrong" in problem and "alow" in problem for problem in status["problems"])
    assert not any("tools: is not known" in problem for problem in status["problems"])


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ({"allow": "echo"}, "tools.allow"),
        ({"rename": {"echo": 1}}, "tools.rename.echo"),
        ({"hide": []}, "tools.hide"),
        ([1], "tools.allow.0"),
        ("echo", "tools"),
    ],
)
def test_a_slip_in_the_rules_is_named_with_its_place(rules: object, where: str) -> None:
    with pytest.raises(ConfigError, match=f"it: {where}:"):
        tool_rules("it", {"tools": rules})


def test_an_entry_without_rules_has_none() -> None:
    assert tool_rules("it", {"description": "a server"}) is None
