"""The operations on models: listing, describing, loading, unloading, tokenising."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import daemon as daemons
from support.daemon import BUDGET, BUNDLED, Daemon
from support.gguf_factory import DAMAGED, Vocabulary, bpe, make, write_llama
from support.people import People
from support.raw_client import RawClient


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model files by name: good, odd and damaged ones."""
    folder = tmp_path_factory.mktemp("zoo")
    plain = bpe()
    mute = Vocabulary("no_vocab", plain.tokens, plain.types)
    models = {kind: make(folder, kind) for kind in ("bpe", "embedding", "bad-template", *DAMAGED)}
    models["mute"] = write_llama(folder / "mute.gguf", mute)
    return models


@pytest.fixture(scope="module")
def daemon(zoo: dict[str, Path]) -> Iterator[Daemon]:
    with daemons.run(models=zoo, errors=True) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def people(daemon: Daemon) -> Iterator[People]:
    with People(daemon) as people:
        yield people


@pytest.fixture
def root(people: People) -> RawClient:
    return people.root


def test_who_reaches_what(people: People) -> None:
    names = people.root.ok("inf_get_program_models").keys["MODELS"]
    assert people.root.ok("inf_get_accessible_models").keys["MODEL"] == names
    with people.user(models=("twin",)).enter() as client:
        assert client.ok("inf_get_accessible_models").keys["MODEL"] == ["twin"]
    with people.user().enter() as client:
        assert client.ok("inf_get_accessible_models").keys["MODEL"] == []
        assert client.ok("inf_get_program_models").keys["MODELS"] == names


def test_a_model_is_described_loaded_or_not(root: RawClient) -> None:
    loaded = root.ok("inf_get_model_info", MODEL="demo").keys
    other = root.ok("inf_get_model_info", MODEL="twin").keys
    assert (loaded["LOADED"], other["LOADED"]) == (True, False)
    assert loaded["BUDGET_FREE"] == BUDGET - loaded["BUDGET_USED"]
    for key in ("FILE_SIZE", "PARAMETERS", "ARCHITECTURE", "TRAINING_CONTEXT", "TEMPLATE"):
        assert loaded[key] == other[key]
    assert loaded["FILE_SIZE"] == str(BUNDLED.stat().st_size)
    assert loaded["ARCHITECTURE"] == "llama"
    root.refused(2004, "inf_get_model_info", MODEL="nowhere")
    root.refused(2026, "inf_get_model_info", MODEL="not-gguf")


def test_loading_sets_and_changes_the_budget(root: RawClient) -> None:
    op = "inf_load_model"
    assert "CTXSIZE" in root.refused(2016, op, MODEL="twin", CTXSIZE=0).keys["DETAIL"]
    root.refused(2016, op, MODEL="nowhere", CTXSIZE=0)
    root.refused(2004, op, MODEL="nowhere", CTXSIZE=1)
    assert "32" in root.refused(2016, op, MODEL="twin", CTXSIZE=31).keys["DETAIL"]
    root.ok(op, MODEL="twin", CTXSIZE=1000)
    ctxid = root.context("twin", 600)
    info = root.ok("inf_get_model_info", MODEL="twin").keys
    assert (info["BUDGET_USED"], info["BUDGET_FREE"], info["CONTEXTS"]) == (600, 400, 1)
    root.refused(2016, op, MODEL="twin", CTXSIZE=599)
    root.ok(op, MODEL="twin", CTXSIZE=600)
    root.refused(2019, "inf_create_context", MODEL="twin", CTXSIZE=32)
    root.ok("inf_destroy_context", CTXID=ctxid)
    root.context("twin", 600)
    root.ok("inf_unload_model", MODEL="twin")


def test_many_loads_at_once_are_one(root: RawClient) -> None:
    seqs = [root.send("inf_load_model", MODEL="twin", CTXSIZE=size) for size in (500, 500, 500)]
    assert {root.read(seq).code for seq in seqs} == {2000}
    assert root.ok("inf_get_model_info", MODEL="twin").keys["BUDGET_FREE"] == 500
    root.ok("inf_unload_model", MODEL="twin")


def test_unloading_ends_the_contexts(root: RawClient) -> None:
    root.ok("inf_load_model", MODEL="twin", CTXSIZE=2000)
    ctxid = root.context("twin")
    root.ok("inf_unload_model", MODEL="twin")
    root.refused(2005, "inf_get_context_status", CTXID=ctxid)
    assert root.ok("inf_get_model_info", MODEL="twin").keys["LOADED"] is False
    root.refused(2004, "inf_create_context", MODEL="twin", CTXSIZE=64)
    root.ok("inf_unload_model", MODEL="twin")
    root.refused(2004, "inf_unload_model", MODEL="nowhere")


@pytest.mark.parametrize("name", [*DAMAGED, "no-such"])
def test_a_damaged_file_is_2026_and_the_daemon_serves_on(name: str, root: RawClient) -> None:
    if name == "no-such":
        root.refused(2004, "inf_load_model", MODEL=name, CTXSIZE=100)
    elif name != "mangled":
        root.refused(2026, "inf_load_model", MODEL=name, CTXSIZE=100)
    else:
        # llama.cpp may take weights of which some bytes are others; it must not end the daemon.
        assert root.call("inf_load_model", MODEL=name, CTXSIZE=100).code in (2000, 2026)
        root.ok("inf_unload_model", MODEL=name)
    assert root.ok("inf_get_model_info", MODEL="demo").keys["LOADED"] is True


def test_weights_beyond_the_memory_limit_are_2023() -> None:
    limit = BUNDLED.stat().st_size * 3 // 2
    with daemons.run(config={"memory_limit": limit}) as daemon, RawClient(daemon) as client:
        client.login("admin", daemon.admin)
        client.refused(2023, "inf_load_model", MODEL="twin", CTXSIZE=100)
        client.ok("inf_unload_model", MODEL="demo")
        client.ok("inf_load_model", MODEL="twin", CTXSIZE=100)
        client.refused(2023, "inf_load_model", MODEL="demo", CTXSIZE=100)


@pytest.mark.parametrize(
    "text", ["", "Hello, Ada!", "naïve 世界 🌍\0", " leading", "a\n\nb", "<|im_start|>user"]
)
def test_text_becomes_tokens_and_text_again(root: RawClient, text: str) -> None:
    tokens = root.ok("inf_tokenize", text, MODEL="demo").keys["TOKENS"]
    assert bool(tokens) == bool(text)
    assert root.ok("inf_detokenize", MODEL="demo", TOKENS=tokens).data == text
    special = root.ok("inf_tokenize", text, MODEL="demo", SPECIAL=1).keys["TOKENS"]
    assert root.ok("inf_detokenize", MODEL="demo", TOKENS=special).data == text


def test_tokenising_refuses(people: People) -> None:
    root = people.root
    for op, keys in (("inf_tokenize", {}), ("inf_detokenize", {"TOKENS": [1]})):
        root.refused(2004, op, MODEL="nowhere", **keys)
        root.refused(2004, op, MODEL="twin", **keys)
        with people.user().enter() as client:
            client.refused(2014, op, MODEL="demo", **keys)
            client.refused(2014, op, MODEL="nowhere", **keys)
        root.ok("inf_load_model", MODEL="mute", CTXSIZE=500)
        root.refused(3004, op, MODEL="mute", **keys)
    root.refused(2016, "inf_detokenize", MODEL="demo", TOKENS=[4_000_000_000])


def test_what_cannot_chat_is_refused_clearly(root: RawClient) -> None:
    """3004 for a broken template and a missing tokenizer."""
    for name in ("mute", "bad-template"):
        root.ok("inf_load_model", MODEL=name, CTXSIZE=500)
        ctxid = root.context(name, 100)
        msgid = root.say(ctxid, "Hello!")
        refused = root.refused(3004, "exec_execute_input", CTXID=ctxid, MSGID=[msgid])
        assert len(refused.keys["DETAIL"]) > 20
        root.refused(3003, "exec_next", CTXID=ctxid)
        assert root.ok("inf_get_context_status", CTXID=ctxid).code == 2010
        assert root.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"] == [False]
        root.ok("inf_unload_model", MODEL=name)


def test_a_model_for_embeddings_only_is_2016(root: RawClient) -> None:
    root.ok("inf_load_model", MODEL="embedding", CTXSIZE=500)
    answer = root.refused(2016, "inf_create_context", MODEL="embedding", CTXSIZE=100)
    assert "embeddings" in answer.keys["DETAIL"]
    assert root.ok("inf_tokenize", "hello", MODEL="embedding").keys["TOKENS"]
    root.ok("inf_unload_model", MODEL="embedding")


def test_every_file_of_the_folder_is_listed(
    root: RawClient, zoo: dict[str, Path], daemon: Daemon
) -> None:
    names = {"demo", "twin", *zoo}
    assert set(root.ok("inf_get_program_models").keys["MODELS"]) == names
    root.refused(2004, "inf_load_model", MODEL="late", CTXSIZE=100)
    shutil.copy(BUNDLED, daemon.models / "late.gguf")
    (daemon.models / "notes.txt").write_text("no model")
    root.ok("inf_load_model", MODEL="late", CTXSIZE=100)
    assert set(root.ok("inf_get_program_models").keys["MODELS"]) == {*names, "late"}
    (daemon.models / "late.gguf").unlink()
    root.context("late", 100)
    root.ok("inf_unload_model", MODEL="late")
