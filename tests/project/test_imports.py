"""What a start may import: the attachment the standard library alone, the hub nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"alembic", "chromadb", "fastmcp", "litellm", "numpy", "onnxruntime", "rich", "sqlalchemy"}
HEAVY |= {"starlette", "tokenizers", "typer", "uvicorn"}
ATTACHMENT = ["hub.__main__", "hub.attach.command", "hub.attach.relay", "hub.starting", "hub.rendezvous"]
ATTACHMENT += ["hub.environment", "hub.home"]


def imported_by(module: str) -> set[str]:
    """The top-level packages in a process that imported this module and nothing else."""
    script = (
        "import json, sys; before = set(sys.modules)\n"
        f"import {module}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ATTACHMENT)
def test_the_attachment_is_standard_library_only(module: str) -> None:
    assert imported_by(module) - set(sys.stdlib_module_names) == {"hub"}


@pytest.mark.parametrize("module", ["hub.app", "hub.install", "hub.telemetry"])
def test_the_hub_itself_starts_without_anything_heavy(module: str) -> None:
    assert imported_by(module) & HEAVY == set()
