"""Addresses and where the access token is found."""

from __future__ import annotations

import pytest

from infd_client import Address, AddressError, Client, find_token
from infd_client.address import default_token_file


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("infd://localhost", Address("localhost", 4633)),
        ("infd://ada@127.0.0.1:5000", Address("127.0.0.1", 5000, "ada")),
        ("infd://a%40b@host:1/", Address("host", 1, "a@b")),
        ("infd://[::1]:99", Address("::1", 99)),
        ("infd://ada@[fe80::1]", Address("fe80::1", 4633, "ada")),
    ],
)
def test_url(url, expected):
    assert Address.from_url(url) == expected


def test_url_of_an_address_reads_back():
    address = Address("::1", 99, "ada")
    assert Address.from_url(address.url) == address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host", "infd://USER@HOST:PORT"),
        ("host:4633", "infd://USER@HOST:PORT"),
        ("infd://", "infd://USER@HOST:PORT"),
        ("infd://host:port", "malformed"),
        ("infd://host:70000", "malformed"),
        ("infd://host:0", "port 0"),
        ("infd://host/path", "after the port"),
        ("infd://[::1", "malformed"),
        ("infd://ada@", "host"),
    ],
)
def test_bad_url(url, words):
    with pytest.raises(AddressError, match=words):
        Address.from_url(url)


@pytest.mark.parametrize("url", ["infd://ada:hush-hush@host", "infd://ada:hush-hush@host:x"])
def test_password_in_a_url_is_refused_and_not_repeated(url):
    with pytest.raises(AddressError) as caught:
        Client.from_url(url)
    assert "hush" not in str(caught.value)


def test_where_a_token_comes_from(tmp_path):
    named = tmp_path / "named"
    named.write_text("from-file\nsecond line\n")
    named.chmod(0o600)
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert find_token(None, None, environ) is None
    default = default_token_file(environ)
    default.parent.mkdir()
    default.write_text("from-default")
    default.chmod(0o600)
    assert find_token(None, None, environ) == "from-default"
    environ["INFD_TOKEN_FILE"] = str(named)
    assert find_token(None, None, environ) == "from-file"
    environ["INFD_TOKEN"] = "from-environment"
    assert find_token(None, None, environ) == "from-environment"
    assert find_token(None, named, environ) == "from-file"
    assert find_token("from-call", named, environ) == "from-call"


def test_token_files_that_will_not_do(tmp_path):
    path = tmp_path / "token"
    with pytest.raises(AddressError, match="cannot be read"):
        find_token(None, path, {})
    path.write_text("secret")
    path.chmod(0o644)
    with pytest.raises(AddressError, match="chmod 600") as caught:
        find_token(None, path, {})
    assert "secret" not in str(caught.value)
    path.chmod(0o600)
    path.write_text("\n")
    with pytest.raises(AddressError, match="empty"):
        find_token(None, path, {})


def test_login_without_name_or_token_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv("INFD_TOKEN", raising=False)
    monkeypatch.delenv("INFD_TOKEN_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with Client() as client:
        with pytest.raises(AddressError, match="username"):
            client.login()
        with pytest.raises(AddressError, match="INFD_TOKEN"):
            client.login("ada")
