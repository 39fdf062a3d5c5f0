"""One tool: what has to be done before a release, and by when."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

from fastmcp.tools import tool
from pydantic import BaseModel, Field

STEPS = ((7, "Freeze the branch"), (3, "Write the release notes"), (1, "Tell every team its own time"))


class Step(BaseModel):
    """One thing to do."""

    due: date
    what: str


class Checklist(BaseModel):
    """Everything to do before one release."""

    version: str
    steps: list[Step]


@tool(
    title="Release checklist",
    annotations={
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    },
)
def release(
    version: Annotated[str, Field(description="The version, for example '2.0'.")],
    day: Annotated[date, Field(description="The day of the release, as YYYY-MM-DD.")],
) -> Checklist:
    """List what has to be done before a release, and by when."""
    return Checklist(
        version=version, steps=[Step(due=day - timedelta(days=before), what=what) for before, what in STEPS]
    )
