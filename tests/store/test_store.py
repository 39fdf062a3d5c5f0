"""The store keeps what it acknowledged, and says what to do when the machine refuses."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from hub.errors import ConfigError, StorageError
from hub.store import Store
from hub.tables import HEAD, metadata, sessions

pytestmark = pytest.mark.anyio


def add_session(session_id: str, title: str | None = None):  # type: ignore[no-untyped-def]
    def work(connection: Connection) -> None:
        connection.execute(
            insert(sessions).values(session_id=session_id, title=title, created_at=1.0, updated_at=1.0)
        )

    return work


def session_ids(connection: Connection) -> list[str]:
    return list(connection.execute(select(sessions.c.session_id).order_by(sessions.c.session_id)).scalars())


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "100% new" / "hub.sqlite3")
    await store.open()
    await store.write(add_session("one"))
    await store.close()
    again = Store(store.path)
    await again.open()
    assert await again.read(session_ids) == ["one"]
    await again.close()


async def test_a_transaction_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.sqlite3")
    await store.open()

    def half(connection: Connection) -> None:
        add_session("half")(connection)
        raise LookupError("stop here")

    with pytest.raises(LookupError):
        await store.write(half)
    assert await store.read(session_ids) == []
    await store.close()


async def test_the_migrations_lead_to_the_tables_the_code_uses(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    store = Store(tmp_path / "hub.sqlite3")
    await store.open()

    def differences(connection: Connection) -> list[object]:
        def of_ours(name: str | None, kind: str, parents: object) -> bool:
            return kind != "table" or not (name or "").startswith("episode_words")

        context = MigrationContext.configure(connection, opts={"include_name": of_ours})
        return list(compare_metadata(context, metadata))

    assert await store.read(differences) == []
    await store.close()
    config = Config()
    config.set_main_option("script_location", "hub:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_store_made_by_a_newer_hub_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.sqlite3")
    await store.open()
    await store.close()
    with sqlite3.connect(store.path) as driver:
        driver.execute("UPDATE alembic_version SET version_num = '9999'")
    driver.close()
    before = store.path.read_bytes()
    with pytest.raises(ConfigError, match="newer hub"):
        await Store(store.path).open()
    assert store.path.read_bytes() == before


async def test_a_full_disk_is_a_clear_error_and_everything_before_it_is_intact(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.sqlite3", pages_max=120)
    await store.open()
    await store.write(add_session("kept"))
    with pytest.raises(StorageError, match="disk is full"):
        await store.write(add_session("too large", title="x" * 1_000_000))
    assert await store.read(session_ids) == ["kept"]
    await store.write(add_session("small again"))
    await store.close()


async def test_a_database_locked_by_another_process_is_a_clear_error_after_its_deadline(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "hub.sqlite3", busy_deadline_s=0.2)
    await store.open()
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another process"):
        await store.write(add_session("waits"))
    other.execute("ROLLBACK")
    other.close()
    await store.write(add_session("later"))
    assert await store.read(session_ids) == ["later"]
    await store.close()


async def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite3"
    path.write_bytes(b"this is a diary, not a database\n" * 200)
    with pytest.raises(StorageError, match="not a SQLite database"):
        await Store(path).open()
    assert path.read_bytes().startswith(b"this is a diary")


async def test_a_home_that_cannot_be_made_is_a_config_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="file"):
        await Store(tmp_path / "file" / "home" / "hub.sqlite3").open()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
async def test_a_home_that_is_not_writable_is_a_config_error(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o500)
    with pytest.raises(ConfigError, match="not writable"):
        await Store(tmp_path / "hub.sqlite3").open()
    os.chmod(tmp_path, 0o700)


async def test_a_cancelled_caller_does_not_tear_a_transaction(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.sqlite3")
    await store.open()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def slow(connection: Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        add_session("first half")(connection)
        add_session("second half")(connection)

    task = asyncio.create_task(store.write(slow))
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.write(lambda connection: None)
    assert await store.read(session_ids) == ["first half", "second half"]
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.sqlite3")
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StorageError, match="closed"):
        await store.read(session_ids)


async def test_a_backup_of_an_open_store_holds_everything_committed(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.sqlite3")
    await store.open()
    await store.write(add_session("one"))
    await store.backup(tmp_path / "copy.sqlite3")
    await store.close()
    copy = Store(tmp_path / "copy.sqlite3")
    await copy.open()
    assert await copy.read(session_ids) == ["one"]
    await copy.close()
