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
FLOOR_0 = ["hub.mcp_json", "hub.mcp_edits", "hub.settings", "hub.telemetry", "hub.environment"]


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


@pytest.mark.parametrize("module", ["hub.environment", "hub.home", "hub.redaction", "hub.server_names"])
def test_what_the_attachment_needs_is_standard_library_only(module: str) -> None:
    assert imported_by(module) - set(sys.stdlib_module_names) == {"hub"}


@pytest.mark.parametrize("module", FLOOR_0)
def test_the_ground_floor_imports_nothing_heavy(module: str) -> None:
    assert imported_by(module) & HEAVY == set()
