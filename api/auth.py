"""API keys: scopes, hashed at rest, off only on loopback.

A key is 32 random bytes, so one SHA-256 is enough to keep it: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast, get_args

from pydantic import BaseModel, ConfigDict

from kg.errors import BadInput, BadSetting, Forbidden, NotFound, Unauthorised
from kg.home import write_private
from kg.settings import Settings

__all__ = ["KeyRecord", "Keys", "Scope", "is_loopback", "keys_wanted"]

Scope = Literal["read", "ingest", "admin"]
PREFIX = "sku_"
GRANTS: dict[str, set[str]] = {"read": {"read"}, "ingest": {"read", "ingest"}, "admin": {"read", "ingest", "admin"}}


class KeyRecord(BaseModel):
    """One key as it is kept: never the key itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    scope: Scope
    sha256: str
    created_at: datetime

    def allows(self, scope: Scope) -> bool:
        return scope in GRANTS[self.scope]


class Keys:
    """The key file of a home (`keys.json`, mode 0600), read again when it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._records: list[KeyRecord] = []

    @classmethod
    def of(cls, settings: Settings) -> Keys:
        return cls(settings.home / "keys.json")

    def records(self) -> list[KeyRecord]:
        """All keys, oldest first.

        Raises:
            BadSetting: the file is not a list of keys.
        """
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return []
        if self._seen != (stat.st_mtime_ns, stat.st_ino):
            try:
                self._records = [KeyRecord.model_validate(entry) for entry in json.loads(self.path.read_text("utf-8"))]
            except (ValueError, TypeError) as error:
                raise BadSetting(f"{self.path} is not a list of keys: {error}") from error
            self._seen = (stat.st_mtime_ns, stat.st_ino)
        return self._records

    def add(self, name: str, scope: str) -> str:
        """Make a key and return it; this is the only time it can be read.

        Raises:
            BadInput: the scope is unknown, or the name is empty or taken.
        """
        if scope not in get_args(Scope):
            raise BadInput(f"scope = {scope!r}: a key has one of the scopes {', '.join(get_args(Scope))}")
        if not name.strip() or any(record.name == name for record in self.records()):
            raise BadInput(f"name = {name!r}: a key needs a name that no other key has")
        token = PREFIX + secrets.token_urlsafe(32)
        record = KeyRecord(name=name, scope=cast("Scope", scope), sha256=_digest(token), created_at=datetime.now(UTC))
        self._write([*self.records(), record])
        return token

    def revoke(self, name: str) -> None:
        """Forget a key.

        Raises:
            NotFound: there is none of that name.
        """
        left = [record for record in self.records() if record.name != name]
        if len(left) == len(self.records()):
            raise NotFound(f"key {name!r} does not exist", hint="`skugraph keys list` shows those that do")
        self._write(left)

    def check(self, token: str, scope: Scope) -> str:
        """Name of the key that `token` is.

        Raises:
            Unauthorised: it is none of ours.
            Forbidden: its scope is too small.
        """
        digest = _digest(token)
        record = next((r for r in self.records() if hmac.compare_digest(r.sha256, digest)), None)
        if record is None:
            raise Unauthorised("the API key is missing or not known", hint="send it as `Authorization: Bearer sku_…`")
        if not record.allows(scope):
            raise Forbidden(f"key {record.name!r} has scope {record.scope!r}, this needs {scope!r}")
        return record.name

    def _write(self, records: list[KeyRecord]) -> None:
        write_private(self.path, json.dumps([record.model_dump(mode="json") for record in records], indent=1))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def keys_wanted(settings: Settings) -> bool:
    """Whether requests must carry a key: as set, and by default everywhere but on loopback."""
    return settings.api_auth == "on" or (settings.api_auth == "auto" and not is_loopback(settings.api_host))
