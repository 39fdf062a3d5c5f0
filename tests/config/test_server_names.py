"""The names that servers are shown under."""

from __future__ import annotations

from hub.server_names import RESERVED_NAMES, public_names


def test_a_reserved_name_gets_a_visible_suffix_and_others_keep_theirs() -> None:
    assert public_names(["memory", "github", "fs"], RESERVED_NAMES | {"fs"}) == {
        "fs": "fs_mcp",
        "github": "github",
        "memory": "memory_mcp",
    }


def test_the_suffix_does_not_take_a_name_that_is_there_and_does_not_depend_on_the_order() -> None:
    names = ["memory", "Memory", "memory_mcp", "memory-mcp2"]
    shown = public_names(names, RESERVED_NAMES)
    assert shown == public_names(reversed(names), RESERVED_NAMES)
    assert (shown["memory_mcp"], shown["memory-mcp2"]) == ("memory_mcp", "memory-mcp2")
    assert len({name.replace("-", "_").lower() for name in shown.values()}) == 4
