"""The store: one SQLite database that must not lose what it acknowledged.

Work is a function of an open connection. `write` runs it as one transaction in the
store's writer thread and returns once the commit is on disk; `read` runs it on a
snapshot in the reader thread, so that a reader never waits for a disk to sync.
SQLAlchemy builds the statements and Alembic changes the tables; both are imported
when the store opens, never before. Whatever SQLite refuses becomes a `StorageError`
that says what to do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hub.errors import Busy, ConfigError, HubError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

T = TypeVar("T")

PENDING_MAX = 1024
"""How many pieces of work may wait for each thread; more are refused."""

_ADVICE = {
    "SQLITE_FULL": "the disk is full. Nothing that was acknowledged is lost; free some space and try again",
    "SQLITE_BUSY": "another process holds the database locked. End that process and try again",
    "SQLITE_LOCKED": "the database is locked. Try again",
    "SQLITE_READONLY": "the file or its folder is read-only. Make both writable for this user",
    "SQLITE_CANTOPEN": "it cannot be opened. Check that the folder exists and that this user may write to it",
    "SQLITE_NOTADB": "this file is not a SQLite database. Move it aside, or restore a backup",
    "SQLITE_CORRUPT": "the database is damaged. Stop the hub, keep a copy, and restore a backup or "
    "repair it with `sqlite3 FILE .recover`",
    "SQLITE_PERM": "access to the file is denied. Make it readable and writable for this user",
    "SQLITE_IOERR": "the disk reported an error. Check its health and free space, then try again",
    "SQLITE_TOOBIG": "a text is longer than SQLite can hold",
}
"""What to do, by SQLite's error name; extended names (`SQLITE_IOERR_FSYNC`) share their first two words'."""


class Store:
    """One SQLite database with one writer.

    Args:
        path: The file; its folder is created when it is missing, private to the user.
        busy_deadline_s: How long to wait for another process that holds the database.
        pages_max: The most pages the database may have; None for no limit but the disk's.
    """

    def __init__(self, path: Path, *, busy_deadline_s: float = 5.0, pages_max: int | None = None) -> None:
        self.path = path
        self._busy_deadline_s = busy_deadline_s
        self._pages_max = pages_max
        self._writer = _Lane(path, "hub-store-writer")
        self._reader = _Lane(path, "hub-store-reader")

    async def open(self) -> None:
        """Open the database and bring its tables up to date.

        Raises:
            ConfigError: The folder cannot be made or written, or a newer hub made the file.
            StorageError: SQLite refused: locked, damaged, full, not a database.
        """
        try:
            await self._writer.start(self._connect_writer)
            await self._reader.start(self._connect_reader)
        except BaseException:
            await self.close()
            raise

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` as one transaction; what it returns is returned once the commit is on disk.

        A cancelled caller does not stop work that has begun: it is committed or rolled
        back whole.

        Raises:
            StorageError: SQLite refused; the transaction left no trace.
            Busy: Too much work is waiting already.
        """
        return await self._writer.run(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent snapshot of everything committed so far.

        Raises:
            StorageError: SQLite refused.
            Busy: Too much work is waiting already.
        """
        return await self._reader.run(work)

    async def checkpoint(self) -> None:
        """Move the write-ahead log into the database and cut it, so that what was deleted is gone from it."""

        def cut(driver: sqlite3.Connection) -> None:
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        await self._writer.run_raw(cut)

    async def backup(self, target: Path) -> None:
        """Write a consistent copy of the database to a new file while the hub keeps working.

        Raises:
            StorageError: SQLite refused.
        """

        def copy(driver: sqlite3.Connection) -> None:
            with closing(sqlite3.connect(target)) as destination:
                driver.backup(destination)

        await self._reader.run_raw(copy)

    async def close(self) -> None:
        """Finish the work that waits, then close the database. Closing twice is harmless."""
        await self._reader.stop()
        await self._writer.stop()

    def _connect_writer(self) -> Connection:
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot be created: {error.strerror}. Choose another home with --home or HUB_HOME"
            ) from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{folder}: is not writable. Make it writable or choose another home with --home or HUB_HOME"
            )
        connection = _connect(self.path, "BEGIN IMMEDIATE", self._busy_deadline_s, self._pages_max)
        _migrate(connection, self.path)
        return connection

    def _connect_reader(self) -> Connection:
        return _connect(self.path, "BEGIN", self._busy_deadline_s, None)


class _Lane:
    """One thread with one connection, and the bounded queue in front of it."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._connection: Connection | None = None
        self._pending = 0

    async def start(self, connect: Callable[[], Connection]) -> None:
        assert self._thread is None, "a store opens once"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._connection = await self._submit(lambda: _translated(self._path, connect))

    async def run(self, work: Callable[[Connection], T]) -> T:
        def transact() -> T:
            connection = self._connection
            assert connection is not None
            with connection.begin():
                return work(connection)

        return await self._submit(lambda: _translated(self._path, transact))

    async def run_raw(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on SQLite's own connection, outside of a transaction."""

        def call() -> T:
            assert self._connection is not None
            driver = self._connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            return work(driver)

        return await self._submit(lambda: _translated(self._path, call))

    async def stop(self) -> None:
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        # Queued behind the work that was taken on, some of which nobody waits for any more.
        await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
        thread.shutdown(wait=False)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            connection.engine.dispose()

    async def _submit(self, job: Callable[[], T]) -> T:
        if self._thread is None:
            raise StorageError(f"{self._path}: the store is closed")
        if self._pending >= PENDING_MAX:
            raise Busy(
                f"{self._path}: {PENDING_MAX} pieces of work wait for the disk already; try again later"
            )
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, job)
        future.add_done_callback(self._done)
        # Shielded: a transaction that has begun ends in a commit or a rollback, whoever still waits for it.
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[T]) -> None:
        self._pending -= 1
        # Whoever still waits is told; nobody else need be.
        if not future.cancelled():
            future.exception()


def _connect(path: Path, begin: str, busy_deadline_s: float, pages_max: int | None) -> Connection:
    from sqlalchemy import URL, create_engine, event
    from sqlalchemy.pool import NullPool

    engine: Engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=NullPool,
        # The driver's own transaction control commits around DDL; with None there is none, and
        # the `begin` event below opens transactions.
        connect_args={
            "isolation_level": None,
            "timeout": busy_deadline_s,
            "check_same_thread": False,
        },
    )

    @event.listens_for(engine, "connect")
    def prepare(driver: sqlite3.Connection, record: object) -> None:
        driver.execute("PRAGMA journal_mode = WAL").fetchall()
        driver.execute("PRAGMA synchronous = FULL")
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute("PRAGMA secure_delete = ON").fetchall()
        if pages_max is not None:
            driver.execute(f"PRAGMA max_page_count = {pages_max:d}").fetchall()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine.connect()


def _migrate(connection: Connection, path: Path) -> None:
    """Bring the tables to `hub.tables.HEAD`, in one transaction."""
    from sqlalchemy import inspect, text

    from hub.tables import HEAD

    with connection.begin():
        found = None
        if inspect(connection).has_table("alembic_version"):
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found == HEAD:
            return
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", "hub:migrations")
        config.set_main_option("path_separator", "os")
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigError(
                f"{path}: its tables are at version {found!r}, which this hub does not know (it knows up to "
                f"{HEAD!r}). A newer hub made it: update this hub, or choose another home"
            ) from error
        log.info("store migrated", extra={"path": str(path), "from": found, "to": HEAD})


def _translated(path: Path, job: Callable[[], T]) -> T:
    """Run `job`, telling what SQLite refuses in the hub's terms."""
    from sqlalchemy.exc import DBAPIError

    try:
        return job()
    except HubError:
        raise
    except DBAPIError as error:
        refused = _refusal(path, error)
        if refused is None:
            raise
        raise refused from error
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {_advice(error)}", sqlite=_name(error)) from error


def _refusal(path: Path, error: DBAPIError) -> StorageError | None:
    """What the machine refused; None when the statement itself was wrong, which is a bug of ours."""
    from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

    cause = error.orig
    if not isinstance(error, DatabaseError) or isinstance(error, IntegrityError | ProgrammingError):
        return None
    if not isinstance(cause, sqlite3.Error) or _name(cause) == "SQLITE_ERROR":
        return None
    return StorageError(f"{path}: {_advice(cause)}", sqlite=_name(cause))


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"


def _advice(error: sqlite3.Error) -> str:
    family = "_".join(_name(error).split("_")[:2])
    return _ADVICE.get(family, str(error))
