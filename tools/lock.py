"""Refresh every exact pin with one command: `uv run python tools/lock.py [--upgrade [NAME ...]]`.

The pins stand in two places, written together: the constraints of `[tool.uv]` in
`pyproject.toml`, which `uv run` and `uv sync` resolve under, and `requirements.lock`, the
same versions with hashes, for `pip install --require-hashes -r requirements.lock`. uv's
own lock file is not kept, because it names the package index of whoever wrote it.

Without `--upgrade` what is pinned stays, and only what `pyproject.toml` newly asks for is
added. `--upgrade` alone takes the newest of everything; with names, of those.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Every dependency of omni-hub and of its development, exact and with hashes.
# Written by `uv run python tools/lock.py`; do not edit.
# The offline embedder's weights are left out: their package asks for several GB that it
# does not need, which uv is told and pip cannot be told.
"""


def uv(folder: Path, *arguments: str, stdin: str | None = None) -> str:
    """The output of a uv command in a folder; ends the program with uv's own message when it fails."""
    done = subprocess.run(
        ["uv", "--quiet", *arguments], cwd=folder, input=stdin, text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        sys.exit(f"uv {arguments[0]} failed; a pin may stand against a new requirement: try --upgrade NAME")
    return done.stdout


def with_pins(pyproject: str, table: str, pins: Iterable[str]) -> str:
    """`pyproject.toml` with the list `table` of `[tool.uv]` holding these pins."""
    lines = "".join(f'    "{pin}",\n' for pin in sorted(pins))
    text, count = re.subn(
        rf"^{table} = \[\n.*?^\]\n",
        lambda _: f"{table} = [\n{lines}]\n",
        pyproject,
        flags=re.MULTILINE | re.DOTALL,
    )
    assert count == 1, f"pyproject.toml holds {count} lists {table}"
    return text


def pins_in(pyproject: str, table: str) -> list[str]:
    """The pins that stand in the list `table`."""
    found = re.search(rf"^{table} = \[\n(.*?)^\]\n", pyproject, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r'^    "(.*)",$', found[1], flags=re.MULTILINE)


def requirement_lines(exported: str) -> list[str]:
    """The requirements of an export, without comments."""
    return [line.strip() for line in exported.splitlines() if re.match(r"[A-Za-z0-9]", line)]


def plain_pins(lines: list[str]) -> list[str]:
    """Pins for constraints: a marker is kept only where a package has one version here, another there."""
    versions: dict[str, list[str]] = {}
    for line in lines:
        versions.setdefault(line.partition("==")[0], []).append(line)
    return [
        line.partition(" ;")[0] if len(same_package) == 1 else line
        for same_package in versions.values()
        for line in same_package
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Refresh the pins in pyproject.toml and requirements.lock.")
    parser.add_argument(
        "--upgrade", nargs="*", metavar="NAME", help="take newer versions, of all or of these"
    )
    upgrade: list[str] | None = parser.parse_args().upgrade
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in upgrade or ()}
    kept = [
        pin
        for pin in pins_in(pyproject, "constraint-dependencies")
        if upgrade is None or (names and pin.partition("==")[0] not in names)
    ]
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        for name in ("README.md", "LICENSE"):
            shutil.copy(ROOT / name, folder)
        (folder / "pyproject.toml").write_text(with_pins(pyproject, "constraint-dependencies", kept))
        uv(folder, "lock")
        export = ("export", "--frozen", "--no-emit-project", "--no-header", "--no-annotate", "--all-groups")
        pins = plain_pins(requirement_lines(uv(folder, *export, "--no-hashes")))
        hashed = uv(folder, *export, "--no-group", "weights")
        build = requirement_lines(
            uv(
                folder,
                *(
                    "pip",
                    "compile",
                    "--universal",
                    "--no-header",
                    "--no-annotate",
                    "--python-version",
                    "3.11",
                    "-",
                ),
                stdin="hatchling\n",
            )
        )
    pyproject = with_pins(pyproject, "constraint-dependencies", pins)
    pyproject = with_pins(pyproject, "build-constraint-dependencies", build)
    assert "://" not in hashed, "an address stands in the export"
    (ROOT / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    (ROOT / "requirements.lock").write_text(HEADER + hashed, encoding="utf-8")
    print(f"{len(pins)} packages pinned")


if __name__ == "__main__":
    main()
