"""API keys: kept hashed, scoped, revoked at once; off only on loopback."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from api.auth import Keys, is_loopback, keys_wanted
from kg.errors import BadInput, BadSetting, Forbidden, NotFound, Unauthorised
from kg.settings import load_settings


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.json")


def test_a_key_opens_what_its_scope_covers(keys: Keys) -> None:
    token = keys.add("shop", "ingest")
    assert keys.check(token, "read") == "shop"
    assert keys.check(token, "ingest") == "shop"
    with pytest.raises(Forbidden, match="'shop' has scope 'ingest', this needs 'admin'"):
        keys.check(token, "admin")


def test_the_file_holds_no_key_and_only_its_owner_reads_it(keys: Keys) -> None:
    token = keys.add("shop", "read")
    assert token not in keys.path.read_text()
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_other_processes_see_a_key_come_and_go(keys: Keys) -> None:
    server = Keys(keys.path)
    with pytest.raises(Unauthorised):
        server.check("sku_guess", "read")
    token = keys.add("shop", "read")
    assert server.check(token, "read") == "shop"
    keys.revoke("shop")
    with pytest.raises(Unauthorised):
        server.check(token, "read")


@pytest.mark.parametrize(("name", "scope"), [("shop", "root"), ("  ", "read"), ("taken", "read")])
def test_bad_names_and_scopes_are_refused(keys: Keys, name: str, scope: str) -> None:
    keys.add("taken", "read")
    with pytest.raises(BadInput):
        keys.add(name, scope)
    assert [record.name for record in keys.records()] == ["taken"]


def test_revoking_what_does_not_exist(keys: Keys) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        keys.revoke("nobody")


def test_a_broken_key_file_lets_nobody_in(keys: Keys) -> None:
    keys.path.write_text('[{"name": "shop"}]')
    with pytest.raises(BadSetting, match=r"keys\.json"):
        keys.check("sku_any", "read")


@pytest.mark.parametrize(
    ("host", "auth", "wanted"),
    [
        ("127.0.0.1", "auto", False),
        ("localhost", "auto", False),
        ("::1", "auto", False),
        ("0.0.0.0", "auto", True),
        ("192.168.1.5", "auto", True),
        ("shop.example", "auto", True),
        ("127.0.0.1", "on", True),
        ("0.0.0.0", "off", False),
    ],
)
def test_keys_are_wanted_on_every_address_but_loopback(tmp_path: Path, host: str, auth: str, wanted: bool) -> None:
    assert keys_wanted(load_settings(home=tmp_path, api_host=host, api_auth=auth)) is wanted


def test_loopback_is_an_address_not_a_prefix() -> None:
    assert is_loopback("127.1.2.3")
    assert not is_loopback("127.0.0.1.evil.example")
