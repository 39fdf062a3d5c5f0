"""Core blocks: short texts that stand in every turn's prompt, and that a model may keep up to date.

A block belongs to a scope and goes by a label, like `persona` or `preferences`. It is
replaced as a whole, by whoever has read the version that it replaces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update

from hub.clock import Clock
from hub.errors import InvalidArguments, NotAllowed, TooLarge, UnknownName
from hub.memory.episode import Scope
from hub.memory.hygiene import cleaned
from hub.store import Store
from hub.tables import blocks

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

CHARS_MAX = 2000
"""How long a block may be unless it says otherwise."""
_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Block:
    """One core block.

    Attributes:
        description: What it is for, for the model that keeps it.
        chars_max: How long its value may be.
        read_only: Whether only a person may change it.
        version: Counts its changes from 1.
        updated_by: Who changed it last.
    """

    scope: Scope
    label: str
    value: str
    description: str | None
    chars_max: int
    read_only: bool
    version: int
    updated_at: float
    updated_by: str | None


class Blocks:
    """The core blocks of a store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, scopes: Sequence[Scope]) -> list[Block]:
        """The blocks of some scopes, by scope in the order given, then by label."""

        def read(connection: Connection) -> list[Block]:
            rows = connection.execute(select(blocks).where(or_(*map(_in, scopes)))).all()
            return sorted(map(_block, rows), key=lambda block: (scopes.index(block.scope), block.label))

        return await self._store.read(read) if scopes else []

    async def read(self, scope: Scope, label: str) -> Block:
        """One block.

        Raises:
            UnknownName: There is none of that label in the scope.
        """

        return await self._store.read(lambda c: _known(c, scope, label))

    async def create(
        self,
        scope: Scope,
        label: str,
        value: str = "",
        *,
        description: str | None = None,
        chars_max: int = CHARS_MAX,
        read_only: bool = False,
        by: str | None = None,
    ) -> Block:
        """Make a block.

        Raises:
            InvalidArguments: The label is not one, or is taken.
            TooLarge: The value is longer than `chars_max`.
        """
        if not _LABEL.fullmatch(label):
            raise InvalidArguments(
                f"{label!r} is no label of a block: up to 64 of a-z, 0-9, - and _, not - or _ first"
            )
        fields = {
            "scope_kind": scope.kind,
            "scope_key": scope.key,
            "label": label,
            "value": _fitting(label, value, chars_max),
            "description": description,
            "chars_max": chars_max,
            "read_only": read_only,
            "version": 1,
            "updated_at": self._clock.now(),
            "updated_by": by,
        }

        def write(connection: Connection) -> Block:
            if connection.execute(select(blocks).where(_is(scope, label))).first() is not None:
                raise InvalidArguments(f"there is a block {label!r} in {scope} already")
            connection.execute(insert(blocks).values(fields))
            return _known(connection, scope, label)

        return await self._store.write(write)

    async def write(
        self,
        scope: Scope,
        label: str,
        value: str,
        *,
        version: int,
        by: str | None = None,
        force: bool = False,
    ) -> Block:
        """Replace a block's value.

        Args:
            version: The version that was read; nothing is written when the block has another by now.
            by: Who writes.
            force: Whether a read-only block may be written, as a person may.

        Raises:
            UnknownName: There is no such block.
            InvalidArguments: It has changed since it was read; the error holds the present value.
            NotAllowed: It is read-only.
            TooLarge: The value is longer than the block may be.
        """

        def replace(connection: Connection) -> Block:
            block = _known(connection, scope, label)
            if block.read_only and not force:
                raise NotAllowed(f"the block {label!r} is read-only")
            if block.version != version:
                raise InvalidArguments(
                    f"the block {label!r} is at version {block.version} and not {version}: somebody has "
                    "changed it. Read it again and put your change into what it says now",
                    version=block.version,
                    value=block.value,
                )
            connection.execute(
                update(blocks)
                .where(_is(scope, label))
                .values(
                    value=_fitting(label, value, block.chars_max),
                    version=version + 1,
                    updated_at=self._clock.now(),
                    updated_by=by,
                )
            )
            return _known(connection, scope, label)

        return await self._store.write(replace)

    async def remove(self, scope: Scope, label: str) -> None:
        """Delete a block.

        Raises:
            UnknownName: There is no such block.
        """

        def forget(connection: Connection) -> None:
            _known(connection, scope, label)
            connection.execute(delete(blocks).where(_is(scope, label)))

        await self._store.write(forget)


def _known(connection: Connection, scope: Scope, label: str) -> Block:
    row = connection.execute(select(blocks).where(_is(scope, label))).first()
    if row is None:
        raise UnknownName(f"there is no block {label!r} in {scope}")
    return _block(row)


def _fitting(label: str, value: str, chars_max: int) -> str:
    if len(value) > chars_max:
        raise TooLarge(
            f"the block {label!r} may have {chars_max:,} characters and this value has {len(value):,}. "
            "Keep what every turn must know"
        )
    return cleaned(value).text


def _is(scope: Scope, label: str) -> ColumnElement[bool]:
    return and_(_in(scope), blocks.c.label == label)


def _in(scope: Scope) -> ColumnElement[bool]:
    return and_(blocks.c.scope_kind == scope.kind, blocks.c.scope_key == scope.key)


def _block(row: Row[Any]) -> Block:
    return Block(
        Scope(row.scope_kind, row.scope_key),
        row.label,
        row.value,
        row.description,
        row.chars_max,
        row.read_only,
        row.version,
        row.updated_at,
        row.updated_by,
    )
