"""An MCP server that calculates with units, dates and time zones, offline.

    python -m hub.examples.almanac

Nothing depends on when or where it runs: the same question always has the same answer.
"""

from __future__ import annotations

import calendar
from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

CALCULATES = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

Kind = Literal["length", "mass", "volume", "area", "speed", "time", "data", "energy", "temperature"]

# How many of each kind's first unit one of them is, by definition (SI, and the
# international yard and pound of 1959).
_FACTORS: dict[Kind, dict[str, float]] = {
    "length": {
        "m": 1, "km": 1000, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048, "yd": 0.9144,
        "mi": 1609.344, "nmi": 1852,
    },
    "mass": {"kg": 1, "g": 0.001, "mg": 1e-6, "t": 1000, "lb": 0.45359237, "oz": 0.028349523125},
    "volume": {
        "l": 1, "ml": 0.001, "m3": 1000, "gal": 3.785411784, "qt": 0.946352946, "cup": 0.2365882365,
        "floz": 0.0295735295625,
    },
    "area": {"m2": 1, "km2": 1e6, "ha": 1e4, "ft2": 0.09290304, "acre": 4046.8564224},
    "speed": {"m/s": 1, "km/h": 1 / 3.6, "mph": 0.44704, "kn": 1852 / 3600},
    "time": {"s": 1, "ms": 0.001, "min": 60, "h": 3600, "d": 86_400, "wk": 604_800},
    "data": {
        "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
        "TiB": 2**40, "bit": 0.125,
    },
    "energy": {"J": 1, "kJ": 1e3, "kWh": 3.6e6, "cal": 4.184, "kcal": 4184},
}  # fmt: skip
_TEMPERATURES = ("C", "F", "K")
_ABSOLUTE_ZERO_C = -273.15

Unit = Annotated[
    str, Field(max_length=10, description="A unit's symbol: `units` lists them, for example 'mi'.")
]
Day = Annotated[date, Field(description="A day as YYYY-MM-DD.")]
Shift = Annotated[int, Field(ge=-100_000, le=100_000)]
Zone = Annotated[str, Field(max_length=64, description="A time zone's name, for example 'Europe/Berlin'.")]


class Converted(BaseModel):
    """A quantity in another unit."""

    value: float
    unit: str
    kind: Kind


class Units(BaseModel):
    """The units of each kind."""

    units: dict[str, list[str]]


class CalendarDay(BaseModel):
    """One day."""

    date: date
    weekday: str
    iso_week: str = Field(description="The ISO 8601 week, for example '2026-W47'.")
    day_of_year: int


class Span(BaseModel):
    """The time from one day to another."""

    days: int = Field(description="Negative when the end is before the start.")
    weeks: float
    workdays: int = Field(description="Mondays to Fridays from the start, the end not counted.")


class LocalTime(BaseModel):
    """One moment, as clocks show it in one place."""

    time: str = Field(description="ISO 8601, with the offset from UTC.")
    zone: str
    weekday: str
    utc_offset: str
    daylight_saving: bool


class LocalTimes(BaseModel):
    """One moment in several places."""

    times: list[LocalTime]


def convert_units(value: float, source: str, target: str) -> Converted:
    """Convert a quantity.

    Raises:
        ToolError: A unit is unknown, the two are of different kinds, or it is below absolute zero.
    """
    kind, target_kind = _kind(source), _kind(target)
    if kind != target_kind:
        raise ToolError(f"{source!r} measures {kind} and {target!r} measures {target_kind}.")
    if kind == "temperature":
        return Converted(value=_temperature(value, source, target), unit=target, kind=kind)
    factors = _FACTORS[kind]
    return Converted(value=_rounded(value * factors[source] / factors[target]), unit=target, kind=kind)


def _kind(unit: str) -> Kind:
    if unit in _TEMPERATURES:
        return "temperature"
    for kind, factors in _FACTORS.items():
        if unit in factors:
            return kind
    every = [*_TEMPERATURES, *(name for factors in _FACTORS.values() for name in factors)]
    near = [name for name in every if name.casefold() == unit.casefold()]
    hint = f" Did you mean {near[0]!r}?" if near else " The tool 'units' lists them."
    raise ToolError(f"There is no unit {unit!r}.{hint}")


def _temperature(value: float, source: str, target: str) -> float:
    celsius = {"C": value, "F": (value - 32) * 5 / 9, "K": value + _ABSOLUTE_ZERO_C}[source]
    if celsius < _ABSOLUTE_ZERO_C - 1e-9:
        raise ToolError(f"{value:g} {source} is below absolute zero.")
    return _rounded({"C": celsius, "F": celsius * 9 / 5 + 32, "K": celsius - _ABSOLUTE_ZERO_C}[target])


def _rounded(value: float) -> float:
    """To 12 significant digits: what lies behind them is an artefact of binary fractions."""
    return float(f"{value:.12g}")


def shifted(day: date, years: int, months: int, days: int) -> date:
    """A day moved by years, months and days, in this order; a day past a month's end becomes its last.

    Raises:
        ToolError: The result lies outside the years 1 to 9999.
    """
    try:
        index = day.year * 12 + day.month - 1 + years * 12 + months
        year, month = divmod(index, 12)
        last = calendar.monthrange(year, month + 1)[1]
        return date(year, month + 1, min(day.day, last)) + timedelta(days=days)
    except (ValueError, OverflowError, IndexError):
        raise ToolError("The result lies outside the years 1 to 9999.") from None


def workdays(start: date, end: date) -> int:
    """How many Mondays to Fridays lie from one day up to but without another."""
    if end < start:
        return -workdays(end, start)
    weeks, rest = divmod((end - start).days, 7)
    return weeks * 5 + sum((start.weekday() + day) % 7 < 5 for day in range(rest))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        wanted = name.rpartition("/")[2].casefold().replace(" ", "_")
        near = sorted(zone for zone in available_timezones() if wanted and wanted in zone.casefold())[:3]
        hint = f" Did you mean {', '.join(near)}?" if near else " Names look like 'Europe/Berlin'."
        raise ToolError(f"There is no time zone {name!r}.{hint}") from None


def _local(moment: datetime, zone: str) -> LocalTime:
    try:
        local = moment.astimezone(_zone(zone))
    except OverflowError:
        raise ToolError("The time lies outside the years 1 to 9999.") from None
    offset = local.strftime("%z")
    return LocalTime(
        time=local.isoformat(timespec="seconds"),
        zone=zone,
        weekday=calendar.day_name[local.weekday()],
        utc_offset=f"{offset[:3]}:{offset[3:5]}",
        daylight_saving=bool(local.dst()),
    )


def build() -> MCPServer:
    """The server."""
    server = MCPServer(
        "almanac",
        title="Almanac",
        instructions="Calculates with units, dates and time zones. Use it instead of mental arithmetic.",
        log_level="WARNING",
    )

    @server.tool(title="Convert units", annotations=CALCULATES)
    def convert(
        value: Annotated[float, Field(allow_inf_nan=False)], from_unit: Unit, to_unit: Unit
    ) -> Converted:
        """Convert a quantity between units of one kind, for example 26.2 mi to km."""
        return convert_units(value, from_unit, to_unit)

    @server.tool(title="List units", annotations=CALCULATES)
    def units() -> Units:
        """List the units that `convert` knows, by kind."""
        known: dict[str, list[str]] = {kind: list(factors) for kind, factors in _FACTORS.items()}
        return Units(units=known | {"temperature": list(_TEMPERATURES)})

    @server.tool(title="Move a date", annotations=CALCULATES)
    def shift_date(day: Day, years: Shift = 0, months: Shift = 0, days: Shift = 0) -> CalendarDay:
        """Move a day by years, months and days. Without them: look up its weekday and week."""
        moved = shifted(day, years, months, days)
        year, week, _ = moved.isocalendar()
        return CalendarDay(
            date=moved,
            weekday=calendar.day_name[moved.weekday()],
            iso_week=f"{year:04d}-W{week:02d}",
            day_of_year=moved.timetuple().tm_yday,
        )

    @server.tool(title="Days between two dates", annotations=CALCULATES)
    def days_between(start: Day, end: Day) -> Span:
        """Count the days, weeks and workdays from one day to another."""
        days = (end - start).days
        return Span(days=days, weeks=round(days / 7, 2), workdays=workdays(start, end))

    @server.tool(title="A time around the world", annotations=CALCULATES)
    def world_time(
        moment: Annotated[
            datetime,
            Field(description="ISO 8601, for example '2026-11-21T09:00'; without an offset, in from_zone."),
        ],
        to_zones: Annotated[list[Zone], Field(min_length=1, max_length=20)],
        from_zone: Zone = "UTC",
    ) -> LocalTimes:
        """Say what clocks in other time zones show at one moment."""
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=_zone(from_zone))
        return LocalTimes(times=[_local(moment, zone) for zone in to_zones])

    return server


def main() -> None:
    """Serve on stdio until the client leaves."""
    build().run("stdio")


if __name__ == "__main__":
    main()
