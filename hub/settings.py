"""`hub.toml`: every setting of the hub, its default, its unit and its bounds.

A setting comes from `HUB_*` in the environment (`HUB_MODEL`,
`HUB_AGENT__ROUNDS_MAX`), else from `.env` in the home, else from `hub.toml` in the
home, else from here. An unknown key or a value out of bounds fails at start and
names the file and the key. The reference in `docs/configuration.md` is generated
from this module.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from hub.errors import ConfigError
from hub.home import Home

ToolNames = Literal["dotted", "qualified", "bare"]
SurfaceMode = Literal["full", "search", "auto"]


class _Table(BaseModel):
    """A table of `hub.toml`: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class HttpSettings(_Table):
    """The `[http]` table: the TCP faces."""

    enabled: bool = False
    """Whether a hub that a client started opens its HTTP faces. `hub serve` always does."""
    host: str = "127.0.0.1"
    """The address to listen on. Any but a loopback address needs `auth`."""
    port: int = Field(default=8787, ge=0, le=65535)
    """The port to listen on; 0 takes a free one."""
    auth: bool = True
    """Whether every path but `/health` needs the key in `http.key`."""
    allowed_hosts: tuple[str, ...] = ()
    """Further `Host` names to accept, beside the loopback ones."""
    allowed_origins: tuple[str, ...] = ()
    """`Origin` values that browsers may call from, beside the hub's own."""
    body_bytes_max: int = Field(default=4 * 1024 * 1024, ge=1024)
    """The largest request body accepted, in bytes."""
    sessions_max: int = Field(default=256, ge=1)
    """How many legacy MCP sessions may be open at once; the idlest is closed for a new one."""
    session_idle_s: float = Field(default=3600.0, gt=0)
    """After how many seconds without a request or stream a legacy MCP session ends."""
    concurrency_max: int = Field(default=64, ge=1)
    """How many turns may run for HTTP clients at once; more are refused with 429."""
    drain_s: float = Field(default=10.0, ge=0)
    """How long running requests may take to finish when the hub is asked to stop."""


class DownstreamSettings(_Table):
    """The `[downstream]` table: defaults for every entry of `mcp.json`."""

    connect_deadline_s: float = Field(default=30.0, gt=0, le=600)
    """How long a server may take to start and shake hands."""
    probe_deadline_s: float = Field(default=5.0, gt=0, le=60)
    """How long a server of unknown era may take to answer `server/discover`."""
    list_deadline_s: float = Field(default=30.0, gt=0, le=600)
    """How long one page of a list may take."""
    call_idle_deadline_s: float = Field(default=120.0, gt=0, le=86_400)
    """How long a call may stay silent; progress starts this wait anew. `timeout` in an entry."""
    call_total_deadline_s: float = Field(default=3600.0, gt=0, le=604_800)
    """How long a call may take in all, however much progress it reports."""
    first_list_budget_s: float = Field(default=1.0, ge=0, le=60)
    """How long the first list ever waits for servers of which no catalog is kept."""
    backoff_first_s: float = Field(default=0.2, gt=0)
    """The wait before the first reconnect; it doubles with each failure, with jitter."""
    backoff_max_s: float = Field(default=30.0, gt=0)
    """The longest wait between two reconnects."""
    stop_grace_s: float = Field(default=2.0, ge=0, le=60)
    """How long a child may take to end after its input closed, and again after SIGTERM."""
    calls_max: int = Field(default=256, ge=1)
    """How many calls may be in flight to one server; more are refused."""
    login_deadline_s: float = Field(default=300.0, gt=0, le=3600)
    """How long a person may take to log in to a server."""
    token_store: Literal["auto", "file", "keyring"] = "auto"
    """Where logins are kept: in the system's `keyring`, or in the `file` `logins.json` in the home, readable
    by its owner alone; `auto` takes the keyring where there is a usable one."""
    hold_changed: bool = False
    """Whether a tool, prompt or server instruction that changed since it was first seen is held back until
    `hub servers approve`."""


class AgentSettings(_Table):
    """The `[agent]` table: one turn of the built-in agent."""

    rounds_max: int = Field(default=30, ge=1, le=1000)
    """How many times a turn may go back to the model with tool results."""
    turn_deadline_s: float = Field(default=300.0, gt=0, le=86_400)
    """How long one turn may take in all."""
    tool_deadline_s: float = Field(default=180.0, gt=0, le=3600)
    """How long one tool call may take before the agent gives up on it."""
    model_deadline_s: float = Field(default=120.0, gt=0, le=3600)
    """How long one answer of the model may take."""
    tools_max: int = Field(default=32, ge=1, le=512)
    """How many tools are shown to the model at most."""
    tool_result_chars_max: int = Field(default=16_000, ge=256)
    """How much of one tool result the model reads."""
    window_turns: int = Field(default=2048, ge=1)
    """How many turns of a session are kept."""
    prompt_turns: int = Field(default=20, ge=0)
    """How many of the latest turns stand in the prompt."""
    lane_queue_max: int = Field(default=8, ge=0)
    """How many messages may wait for a session's running turn."""
    hops_max: int = Field(default=3, ge=0)
    """Through how many agents a request may pass before it is refused."""
    system_prompt: str | None = None
    """Replaces the built-in system prompt."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Passed to the model when set."""
    tokens_max: int | None = Field(default=None, ge=1)
    """How many tokens one answer of the model may have; its own default when unset."""
    fallbacks: tuple[str, ...] = ()
    """Models to ask, in order, when the first cannot answer."""
    model_retries_max: int = Field(default=2, ge=0, le=10)
    """How often one model is asked again after a failure that may pass."""
    stream: bool = True
    """Whether answers are streamed; some old local servers cannot."""
    context_tokens_max: int | None = Field(default=None, ge=1000)
    """How many tokens a prompt may have; the model's own limit when unset, 32,000 where that is unknown."""
    turn_tokens_max: int | None = Field(default=None, ge=1)
    """How many tokens one turn may read and write in all."""
    turn_cost_usd_max: float | None = Field(default=None, gt=0)
    """What one turn may cost, by LiteLLM's price list."""
    session_cost_usd_max: float | None = Field(default=None, gt=0)
    """What one session may cost; further turns are refused."""
    day_cost_usd_max: float | None = Field(default=None, gt=0)
    """What all turns of a day (UTC) may cost; further turns are refused."""


class MemorySettings(_Table):
    """The `[memory]` table: recall and learning."""

    k1: int = Field(default=20, ge=1, le=1000)
    """How many candidates relevance hands on to learned value."""
    k2: int = Field(default=5, ge=1, le=100)
    """How many episodes a recall returns."""
    value_weight: float = Field(default=0.8, ge=0, le=1)
    """0 ranks by relevance alone, 1 by learned value alone. What was never judged ranks by relevance."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Hits below this final score are left out."""
    relevance_floor: float = Field(default=0.15, ge=0, le=1)
    """The least cosine with the query that counts as relevant; 0 returns the best there is anyway."""
    learning_rate: float = Field(default=0.2, gt=0, le=1)
    """How far one reward moves an episode's `q_value`."""
    value_half_life_days: float = Field(default=180.0, gt=0)
    """After how many days without a judgement what was learned about an episode counts half."""
    exploration: float = Field(default=0.0, ge=0, le=1)
    """How much chance may lift an episode that was never judged; 0 ranks without chance."""
    feedback_per_minute_max: int = Field(default=60, ge=1)
    """How many judgements of one source count within a minute; more are refused."""
    feedback_weights: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """How much the judgements of a source count, by its name; those of the others count 1."""
    embedder_path: Path | None = None
    """A folder with an ONNX sentence model and its `tokenizer.json`; the bundled model when unset."""
    embedder_download: bool = True
    """Whether a hub without a sentence model has Chroma download its own, about 80 MB, once."""
    episode_chars_max: int = Field(default=32_000, ge=256)
    """The longest text one episode may hold."""
    episodes_max: int = Field(default=200_000, ge=100)
    """How many episodes are kept; beyond, those worth least are set aside."""
    set_aside_days: float = Field(default=30.0, ge=0)
    """For how many days what was set aside can be brought back before it is deleted for good."""
    consolidation_threshold_turns: int = Field(default=60, ge=2)
    """How many turns of a session are gathered before the oldest become one episode."""
    consolidation_take_turns: int = Field(default=30, ge=1)
    """How many turns become one episode."""


class SkillsSettings(_Table):
    """The `[skills]` table."""

    folders: tuple[Path, ...] = ()
    """Further folders with skills, beside the shipped ones and `skills/` in the home."""
    disabled: tuple[str, ...] = ()
    """Names of skills that are not offered."""
    idle_stop_s: float = Field(default=300.0, gt=0)
    """After how many idle seconds a skills worker ends."""
    tool_deadline_s: float = Field(default=30.0, gt=0, le=3600)
    """How long one skill tool may take."""
    fs_roots: tuple[Path, ...] = ()
    """Folders that the `fs` skill may read. Empty: nothing, until a folder is listed here."""
    fs_bytes_max: int = Field(default=16 * 1024 * 1024, ge=1024)
    """The largest file that the `fs` skill reads or searches, in bytes."""
    fs_search_deadline_s: float = Field(default=20.0, gt=0, le=600)
    """How long `fs.search` may look before it returns what it has found so far."""
    web_private_addresses: bool = False
    """Whether `web.fetch` may reach loopback and private addresses."""
    web_private_hosts: tuple[str, ...] = ()
    """Hosts that `web.fetch` may reach although they are private, for example `wiki.intern`."""
    web_bytes_max: int = Field(default=2 * 1024 * 1024, ge=1024)
    """The largest page `web.fetch` downloads, in bytes."""
    web_deadline_s: float = Field(default=20.0, gt=0, le=600)
    """How long `web.fetch` may take over one page, redirects included."""


class SurfaceSettings(_Table):
    """The `[surface]` table: how much of all tools a client sees at once."""

    mode: SurfaceMode = "full"
    """`full` lists every tool; `search` lists the hub's own and the pinned ones, and `tools.search`
    finds the rest; `auto` searches when the definitions are over the budget."""
    budget_tokens: int = Field(default=25_000, ge=1000)
    """How many tokens of definitions `auto` lists."""
    pinned: tuple[str, ...] = ()
    """Patterns of tools that are always listed, for example `github.*`."""


class ProfileSettings(_Table):
    """A `[profiles.NAME]` table: a named subset of the tools, at `/mcp/NAME` and `hub mcp --profile NAME`."""

    tools: tuple[str, ...] = ("*",)
    """Patterns of the tools that can be seen and called, for example `fs.*`."""
    deny: tuple[str, ...] = ()
    """Patterns of those that cannot, even if `tools` names them."""
    tool_names: ToolNames | None = None
    """The style of names; the hub's own setting when unset."""
    mode: SurfaceMode | None = None
    """`full`, `search` or `auto`; as in `[surface]` when unset."""
    pinned: tuple[str, ...] = ()
    """Patterns of tools that are always listed, beside those of `[surface]`."""


class LogSettings(_Table):
    """The `[log]` table: the structured log in the home."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    bytes_max: int = Field(default=5_000_000, ge=10_000)
    """How large one log file grows before it is rotated."""
    files_kept: int = Field(default=3, ge=1, le=100)
    """How many rotated files are kept."""


class Settings(BaseSettings):
    """Everything `hub.toml` may hold."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="HUB_",
        env_nested_delimiter="__",
        # Clients pass on `HUB_MODEL=` when they were given nothing.
        env_ignore_empty=True,
        # `.env` holds provider keys too; of the hub's own names every one must be known.
        dotenv_filtering="match_prefix",
        use_attribute_docstrings=True,
    )

    model: str | None = None
    """The model of the built-in agent, by any LiteLLM name, for example `openai/gpt-5-mini`."""
    api_base: str | None = None
    """The base URL of a model proxy or local server."""
    tool_names: ToolNames = "dotted"
    """How tools are named: `dotted` (`fs.read`), `qualified` (`mcp__fs__read`) or `bare` (`read`)."""
    builtin_tools: bool = True
    """Whether the hub's own tools are offered; false makes it a pure gateway."""
    idle_exit_s: float = Field(default=600.0, ge=0)
    """After how many seconds without a client a hub that a client started ends."""
    message_bytes_max: int = Field(default=32 * 1024 * 1024, ge=65_536)
    """The longest JSON-RPC message accepted from either side, in bytes."""
    http: HttpSettings = HttpSettings()
    downstream: DownstreamSettings = DownstreamSettings()
    agent: AgentSettings = AgentSettings()
    memory: MemorySettings = MemorySettings()
    skills: SkillsSettings = SkillsSettings()
    surface: SurfaceSettings = SurfaceSettings()
    profiles: dict[str, ProfileSettings] = {}
    """Named subsets of the tools."""
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then `.env`, then `hub.toml`, which arrives as init values."""
        return env_settings, dotenv_settings, init_settings


def load(home: Home) -> Settings:
    """Read the settings of a home.

    Raises:
        ConfigError: `hub.toml`, `.env` or a `HUB_*` variable is wrong; names the place and
            the key, never the value.
    """
    table: dict[str, Any] = {}
    try:
        table = tomllib.loads(home.settings_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{home.settings_file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{home.settings_file}: cannot be read: {error.strerror}") from None
    try:
        return Settings(_env_file=home.env_file, **table)
    except ValidationError as error:
        raise ConfigError(_explain(error, home, table)) from None
    except SettingsError as error:
        raise ConfigError(
            f"a HUB_* variable, or {home.env_file}: {error}: "
            'lists and tables are written as JSON, for example ["a", "b"]'
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{home.env_file}: is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{home.env_file}: cannot be read: {error.strerror}") from None


def _explain(error: ValidationError, home: Home, table: dict[str, Any]) -> str:
    """One line for each wrong key with the place it stands in, without the value: it may be a secret."""
    in_environment = {name.upper() for name in os.environ}
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        parts = [str(part) for part in problem["loc"]]
        variables = {"HUB_" + "__".join(parts[:end]).upper() for end in range(1, len(parts) + 1)}
        if found := variables & in_environment:
            place = f"the variable {found.pop()}"
        else:
            place = str(home.settings_file if _holds(table, parts) else home.env_file)
        lines.append(f"{place}: {'.'.join(parts)}: {problem['msg']}")
    return "\n".join(lines)


def _holds(table: Any, parts: list[str]) -> bool:
    """Whether a TOML table has a value at this path, or ends on the way to it."""
    for part in parts:
        if not isinstance(table, dict):
            return True
        if part not in table:
            return False
        table = table[part]
    return True
