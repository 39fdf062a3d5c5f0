"""The tree of commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import hub
from hub.cli import clients, exits, lifecycle, memory, servers, sessions, skills, tools, tour, traces, turns
from hub.cli.exits import Quit
from hub.cli.invocation import HOME, JSON, MCP_CONFIG, TRACEBACK_VARIABLE, Invocation
from hub.errors import HubError, InvalidArguments, RpcError

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong command, 3 no hub, 4 mend the configuration, 130 interrupted."

app = typer.Typer(
    name="hub",
    help="One MCP endpoint for every tool, one memory that learns what helped, "
    "one agent that any client can call.\n\nNew here? Try: hub demo",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"hub {hub.__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[Path | None, HOME] = None,
    mcp_config: Annotated[Path | None, MCP_CONFIG] = None,
    as_json: Annotated[bool, JSON] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Invocation(home_option=home, servers_file_option=mcp_config, json=as_json)


tour.add_to(app)


@app.command("mcp", rich_help_panel="For clients", add_help_option=False)
def mcp() -> None:
    """What an MCP client launches: connects its standard streams to the hub."""
    raise AssertionError("`hub mcp` never comes here: `hub.__main__` hands it to the attachment")


clients.add_to(app)
lifecycle.add_to(app)
turns.add_to(app)
tools.add_to(app)
servers.add_to(app)
clients.add_to(app)
skills.add_to(app)
memory.add_to(app)
sessions.add_to(app)
traces.add_to(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; see `hub.cli.main`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = words[: words.index("--")] if "--" in words else words
    as_json = "--json" in options
    try:
        outcome = typer.main.get_command(app).main(args=words, prog_name="hub", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else exits.OK
        sys.stdout.flush()
        return code
    except Quit as quit:
        return quit.code
    except (HubError, RpcError) as error:
        _tell(error, str(error), as_json)
        return exits.exit_code(error)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "hub"
        message = error.format_message().replace("\n", " ").strip()
        if message:
            wrong = InvalidArguments(f"{message.rstrip('.')}. See: {path} --help")
            _tell(wrong, wrong.message, as_json)
        return exits.USAGE
    except (typer.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough; the interpreter must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:
        # The last boundary: a person gets a line, and a way to the traceback.
        if TRACEBACK_VARIABLE in os.environ:
            raise
        say_error(
            f"internal error, which is a bug of the hub: {type(error).__name__}: {error}; "
            f"{TRACEBACK_VARIABLE}=1 shows where"
        )
        return exits.FAILED


def _tell(error: HubError | RpcError, message: str, as_json: bool) -> None:
    """Say what went wrong: to a person, and to the program that reads JSON."""
    if as_json:
        import json

        sys.stdout.write(json.dumps(exits.as_json(error), ensure_ascii=False, indent=2) + "\n")
    say_error(message)


def say_error(message: str) -> None:
    """One error for a person, on stderr."""
    red, plain = ("\x1b[31m", "\x1b[0m") if _wants_colour() else ("", "")
    sys.stderr.write(f"{red}hub:{plain} {message}\n")
    sys.stderr.flush()


def _wants_colour() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
