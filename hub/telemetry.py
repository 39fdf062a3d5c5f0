"""The hub's log: one JSON object a line, rotated in the home, without secrets.

Modules log as Python does, `logging.getLogger(__name__)`, with facts in `extra`:

    log.warning("server lost", extra={"server": "github", "exit_code": 1})

A line holds `time` (UTC), `level`, `logger`, `message`, the facts, and `traceback` when
there is one. In the foreground the same goes to stderr, readable. Secrets are hidden
before anything is written: those named in `.env` and in the environment, those that
`mcp.json` turns out to hold (`hide`), and whatever looks like one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from typing import Any

from dotenv import dotenv_values

from hub.errors import ConfigError
from hub.home import Home
from hub.redaction import HIDDEN, Redactor, names_a_secret, secret_values
from hub.settings import LogSettings

TEXT_CHARS_MAX = 16_000
"""Longer messages, facts and tracebacks are cut in the log."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_DEPTH_MAX = 6
_OTHERS_LEVEL = logging.WARNING
"""Libraries tell less than the hub: at `info` some of them log whole URLs."""

_installed: list[logging.Handler] = []
_redactor = Redactor()


def configure(home: Home, settings: LogSettings, *, foreground: bool = False) -> None:
    """Send everything that is logged to the home's log; a second call replaces the first.

    Args:
        home: Whose log; its folder is made when it is missing.
        settings: Level, size and number of files.
        foreground: Whether a person watches stderr.

    Raises:
        ConfigError: the log cannot be written.
    """
    hide(secret_values(os.environ))
    hide(secret_values(dotenv_values(home.env_file)))
    handlers: list[logging.Handler] = [_file_handler(home, settings)]
    handlers[0].setFormatter(_JsonLines(_redactor))
    if foreground:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[1].setFormatter(_Readable(_redactor))
    shutdown()
    level = settings.level.upper()
    root = logging.getLogger()
    for handler in handlers:
        root.addHandler(handler)
    _installed.extend(handlers)
    root.setLevel(logging.DEBUG if level == "DEBUG" else _OTHERS_LEVEL)
    logging.getLogger("hub").setLevel(level)
    logging.captureWarnings(True)


def hide(secrets: Iterable[str]) -> None:
    """Keep these values out of the log from now on, for as long as the process lives."""
    _redactor.hide(secrets)


def shutdown() -> None:
    """Close what `configure` opened."""
    for handler in _installed:
        logging.getLogger().removeHandler(handler)
        handler.close()
    _installed.clear()
    logging.captureWarnings(False)


class _PrivateFileHandler(RotatingFileHandler):
    """A rotated log that only its owner can read."""

    def _open(self) -> Any:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=private)


def _file_handler(home: Home, settings: LogSettings) -> logging.Handler:
    try:
        home.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _PrivateFileHandler(
            home.log_file,
            maxBytes=settings.bytes_max,
            backupCount=settings.files_kept,
            encoding="utf-8",
            # Half a surrogate pair, which JSON may hold and UTF-8 may not.
            errors="backslashreplace",
        )
    except OSError as error:
        raise ConfigError(f"{home.log_file}: the log cannot be written: {error.strerror}") from None


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._text(record.getMessage()),
            **self.facts(record),
        }
        if traceback := self.traceback(record):
            line["traceback"] = traceback
        return json.dumps(line, ensure_ascii=False, default=lambda value: self._text(repr(value)))

    def facts(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the caller gave as `extra`, without secrets."""
        given = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        return {key: self._fact(key, value, 0) for key, value in given.items()}

    def traceback(self, record: logging.LogRecord) -> str:
        """The traceback of the error that is logged, without secrets; empty when there is none."""
        parts = []
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return self._text("\n".join(parts))

    def _fact(self, key: str, value: Any, depth: int) -> Any:
        # A bare `key` names an entry of a table in this code, never a secret.
        if isinstance(value, str):
            return HIDDEN if key != "key" and names_a_secret(key) else self._text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth < _DEPTH_MAX and isinstance(value, dict):
            return {str(name): self._fact(str(name), inner, depth + 1) for name, inner in value.items()}
        if depth < _DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
            return [self._fact(key, inner, depth + 1) for inner in value]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        # Hidden before it is cut, since half a secret would not be recognised; of a huge text
        # only a part is looked at, and none of the rest is written.
        length = len(text)
        text = self._redactor(text[: 2 * TEXT_CHARS_MAX])
        if len(text) <= TEXT_CHARS_MAX:
            return text
        return f"{text[:TEXT_CHARS_MAX]}… ({length} characters)"


class _Readable(_JsonLines):
    """One line for a person, and the traceback under it."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = "".join(f" {key}={value}" for key, value in self.facts(record).items())
        line = f"{clock} {record.levelname.lower():7} {record.name}: {self._text(record.getMessage())}{facts}"
        traceback = self.traceback(record)
        return f"{line}\n{traceback}" if traceback else line


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
