"""One tool: the current date and time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from fastmcp.exceptions import ToolError
from fastmcp.tools import tool
from pydantic import BaseModel, Field


class Now(BaseModel):
    """This moment, as clocks show it in one place."""

    time: str = Field(description="ISO 8601, with the offset from UTC.")
    date: str
    weekday: str
    zone: str
    unix: float = Field(description="Seconds since 1970-01-01T00:00:00Z.")


@tool(
    title="Current time",
    annotations={
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    },
)
def now(
    zone: Annotated[
        str | None,
        Field(
            max_length=64,
            description="A time zone, for example 'Europe/Berlin'; this machine's when left out.",
        ),
    ] = None,
) -> Now:
    """Tell the current date, time and weekday."""
    moment = datetime.now(UTC)
    local = moment.astimezone(_zone(zone)) if zone is not None else moment.astimezone()
    return Now(
        time=local.isoformat(timespec="seconds"),
        date=local.date().isoformat(),
        weekday=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[
            local.weekday()
        ],
        zone=zone or local.tzname() or "local",
        unix=moment.timestamp(),
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        place = name.rpartition("/")[2].casefold().replace(" ", "_")
        near = sorted(zone for zone in available_timezones() if place and place in zone.casefold())[:3]
        hint = f" Did you mean {' or '.join(near)}?" if near else " Names look like 'Europe/Berlin'."
        raise ToolError(f"There is no time zone {name!r}.{hint}") from None
