"""How psycopg passes values of an index to PostgreSQL and back; imported where psycopg is."""

from typing import Any

import psycopg
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.types.string import StrDumper


def adapt(raw: psycopg.Connection[Any]) -> None:
    """Let a connection take and give values as SQLite does."""
    raw.adapters.register_dumper(bool, _Bit)
    raw.adapters.register_dumper(str, _Text)
    raw.adapters.register_loader("numeric", _Number)


class _Bit(Dumper):
    """Write booleans as integers, which yes-or-no columns hold."""

    def dump(self, obj: bool) -> bytes:
        return b"1" if obj else b"0"


class _Text(StrDumper):
    """Write text without the character 0, which PostgreSQL cannot hold and a broken caption may have."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\x00", "\ufffd"))


class _Number(Loader):
    """Read `numeric`, which sums of integers come as."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return float(text) if "." in text else int(text)
