"""The generated files equal what the generator makes, whole; every operation has its method."""

from __future__ import annotations

import inspect

import pytest

from infd_client import AsyncClient, Client, generate
from infd_protocol.operations import OPERATIONS


@pytest.mark.parametrize("path", generate.files(), ids=lambda path: path.name)
def test_committed_file_is_the_generators_output(path):
    assert path.read_bytes() == generate.files()[path].encode()


def test_check_tells_a_stale_file(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "_methods.py"
    stale.write_text(generate.methods()[:-1])  # only the last newline is missing
    monkeypatch.setattr(generate, "files", lambda: {stale: generate.methods()})
    assert generate.main(["--check"]) == 1
    assert "python -m infd_client.generate" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_method_takes_every_key_and_names_every_exception(kind, row):
    method = getattr(kind, row.name)
    assert inspect.iscoroutinefunction(method) is (kind is AsyncClient)
    taken = inspect.signature(method).parameters
    expected = {key.name.lower() for key in row.takes} - {"stream"}
    if row.data_in:
        expected.add("data")
    assert set(taken) == {"self", "timeout", *expected}
    for key in row.takes:
        if key.name not in ("STOK", "STREAM"):
            required = taken[key.name.lower()].default is inspect.Parameter.empty
            assert required is not key.optional
    for code in row.may_answer - row.success:
        assert f"({code})" in method.__doc__
