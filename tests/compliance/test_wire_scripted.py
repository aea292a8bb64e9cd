"""What llama.cpp will not do on demand: a slow start, a failed start, a failed decode, a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import daemon as daemons
from support import scripted_daemon
from support.daemon import BUDGET, Daemon, until
from support.endless import TABLE, endless
from support.raw_client import RawClient
from support.scripted_daemon import Script

PROGRAM = (scripted_daemon.__file__,)


@contextmanager
def run_scripted(folder: Path, placement: str) -> Iterator[tuple[Daemon, Script]]:
    script = Script(folder)
    with daemons.run(
        models={"endless": endless()},
        config={"models": TABLE, "run_timeout": 0, "placement": placement},
        program=PROGRAM,
        env=script.env,
        errors=True,
    ) as daemon:
        yield daemon, script


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Script]]:
    with run_scripted(tmp_path_factory.mktemp("script"), "dedicated") as both:
        yield both


@pytest.fixture
def script(scripted: tuple[Daemon, Script]) -> Iterator[Script]:
    yield scripted[1]
    for path in scripted[1].folder.iterdir():
        path.unlink()


@pytest.fixture
def client(scripted: tuple[Daemon, Script]) -> Iterator[RawClient]:
    daemon = scripted[0]
    with RawClient(daemon).login("admin", daemon.admin) as client:
        yield client
        client.call("inf_destroy_session")


def test_a_context_that_is_being_made_answers_2012(client: RawClient, script: Script) -> None:
    script.on("open", "hold")
    made = client.send("inf_create_context", MODEL="demo", CTXSIZE=64)
    release = script.held("open")
    assert client.ok("inf_get_context_ids").keys["CTXID"] == [1]
    assert client.ok("inf_get_context_status", CTXID=1).code == 2012
    client.refused(2012, "exec_set_input", "Hello!", CTXID=1, ROLE="user")
    client.refused(2012, "exec_execute_input", CTXID=1, MSGID=[1])
    for op in ("exec_next", "exec_stop", "exec_get_messages"):
        client.refused(2012, op, CTXID=1)
    release()
    assert client.read(made).keys == {"CTXID": 1}
    assert client.ok("inf_get_context_status", CTXID=1).code == 2010
    assert client.ask(1, "Hello!")[0]


def test_a_context_may_be_destroyed_while_it_is_made(client: RawClient, script: Script) -> None:
    script.on("open", "hold")
    made = client.send("inf_create_context", MODEL="demo", CTXSIZE=64)
    release = script.held("open")
    gone = client.send("inf_destroy_context", CTXID=1)
    client.refused(2005, "inf_get_context_status", CTXID=1)
    release()
    assert client.read(gone).code == 2000
    assert client.read(made).code in (2005, 2007)
    assert client.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_FREE"] == BUDGET
    assert client.context() == 2


def test_a_context_that_cannot_be_made_is_2007(client: RawClient, script: Script) -> None:
    script.on("open", "fail llama.cpp says no")
    answer = client.refused(2007, "inf_create_context", MODEL="demo", CTXSIZE=BUDGET)
    assert "llama.cpp says no" in answer.keys["DETAIL"]
    script.off("open")
    assert client.ok("inf_get_context_ids").keys["CTXID"] == []
    assert client.context(size=BUDGET) == 2


def test_a_failed_engine_is_2013_until_it_is_made_anew(client: RawClient, script: Script) -> None:
    ctxid = client.context("endless", 30_000)
    client.execute(ctxid, client.say(ctxid, "go"), MAX_TOKENS=5)
    client.reply(ctxid)
    script.on("token", "fail the decode failed")
    msgid = client.say(ctxid, "more")
    client.execute(ctxid, msgid)
    seq = client.send("exec_next", CTXID=ctxid, STREAM=1, OFFSET=0)
    while not (answer := client.read(seq)).last:
        pass
    assert answer.code == 2013
    script.off("token")
    client.refused(2013, "inf_get_context_status", CTXID=ctxid)
    client.refused(3009, "exec_execute_input", CTXID=ctxid, MSGID=[msgid])
    client.refused(3003, "exec_next", CTXID=ctxid)
    inside = client.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"]
    assert inside == [True, True, False]
    client.ok("exec_stop", CTXID=ctxid)
    script.on("open", "fail no memory")
    client.refused(2007, "inf_clear_context_history", CTXID=ctxid)
    client.refused(2013, "inf_get_context_status", CTXID=ctxid)
    script.off("open")
    client.ok("inf_clear_context_history", CTXID=ctxid)
    assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2010
    assert client.ask(ctxid, "go", MAX_TOKENS=3)[1].keys["TOKENS_OUT"] == 3


@contextmanager
def failing_clear(
    tmp_path: Path, where: str
) -> Iterator[tuple[RawClient, int, int, Callable[[], None]]]:
    """A failed context, and a clear of it (its seq) that fails too once it is released."""
    with (
        run_scripted(tmp_path, where) as (daemon, script),
        RawClient(daemon).login("admin", daemon.admin) as client,
    ):
        ctxid = client.context("endless", 30_000)
        script.on("token", "fail the decode failed")
        client.execute(ctxid, client.say(ctxid, "go"))
        assert list(client.stream(ctxid))[-1].code == 2013
        script.off("token")
        script.on("open", "hold no memory")
        clearing = client.send("inf_clear_context_history", CTXID=ctxid)
        release = script.held("open")
        yield client, ctxid, clearing, release


@pytest.mark.parametrize("where", daemons.PLACEMENTS)
def test_what_comes_behind_a_clear_that_fails_is_refused(tmp_path: Path, where: str) -> None:
    with failing_clear(tmp_path, where) as (client, ctxid, clearing, release):
        msgid = client.say(ctxid, "go")
        executing = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid], MAX_TOKENS=3)
        reading = client.send("exec_next", CTXID=ctxid)
        client.ok("inf_get_context_ids")
        release()
        for seq, code in ((clearing, 2007), (executing, 3009), (reading, 2013)):
            assert client.read(seq).code == code
        client.refused(2013, "inf_get_context_status", CTXID=ctxid)
        clearing = client.send("inf_clear_context_history", CTXID=ctxid)
        msgid = client.say(ctxid, "go")
        client.execute(ctxid, msgid, MAX_TOKENS=3)
        assert client.read(clearing).code == 2000
        assert client.reply(ctxid)[1].keys["TOKENS_OUT"] == 3


@pytest.mark.parametrize("where", daemons.PLACEMENTS)
def test_a_clear_behind_one_that_fails_makes_the_engine_anew(tmp_path: Path, where: str) -> None:
    with failing_clear(tmp_path, where) as (client, ctxid, clearing, release):
        again = client.send("inf_clear_context_history", CTXID=ctxid)
        client.ok("inf_get_context_ids")
        release()
        assert client.read(clearing).code == 2007
        assert client.read(again).code == 2000
        assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2010
        assert client.ask(ctxid, "go", MAX_TOKENS=3)[1].keys["TOKENS_OUT"] == 3


def test_a_failure_that_nobody_waits_for_is_told_once(client: RawClient, script: Script) -> None:
    ctxid = client.context("endless", 30_000)
    script.on("prompt", "crash in the worker")
    client.execute(ctxid, client.say(ctxid, "go"))
    until(lambda: client.call("inf_get_context_status", CTXID=ctxid).code == 2013)
    client.refused(2013, "exec_next", CTXID=ctxid)
    client.refused(3003, "exec_next", CTXID=ctxid)
    client.ok("inf_destroy_context", CTXID=ctxid)


def test_a_failed_engine_may_be_destroyed_and_unloaded(client: RawClient, script: Script) -> None:
    client.ok("inf_load_model", MODEL="twin", CTXSIZE=1000)
    ctxid = client.context("twin", 500)
    script.on("prompt", "fail at once")
    client.execute(ctxid, client.say(ctxid, "Hello!"))
    seq = client.send("exec_next", CTXID=ctxid)
    assert client.read(seq).code == 2013
    client.ok("inf_unload_model", MODEL="twin")
    client.refused(2005, "exec_next", CTXID=ctxid)


def test_other_contexts_do_not_notice(client: RawClient, script: Script) -> None:
    well, ill = client.context("endless", 30_000), client.context("endless", 30_000)
    client.execute(well, client.say(well, "go"), MAX_TOKENS=200)
    expected = client.reply(well)[0]
    script.on("prompt", "fail this one")
    client.execute(ill, client.say(ill, "go"))
    assert client.read(client.send("exec_next", CTXID=ill)).code == 2013
    script.off("prompt")
    client.execute(well, 1, MAX_TOKENS=200)
    assert client.reply(well)[0] == expected


def test_a_template_that_fails_is_3004_in_its_own_words(client: RawClient, script: Script) -> None:
    ctxid = client.context()
    msgid = client.say(ctxid, "Hello!")
    script.on("prepare", "fail roles must alternate")
    answer = client.refused(3004, "exec_execute_input", CTXID=ctxid, MSGID=[msgid])
    assert "roles must alternate" in answer.keys["DETAIL"]
    script.off("prepare")
    client.execute(ctxid, msgid)
    assert client.reply(ctxid)[0]


def test_readers_of_a_refused_run_get_what_was_before(client: RawClient, script: Script) -> None:
    ctxid = client.context()
    msgid = client.say(ctxid, "Hello!")
    script.on("prepare", "hold")
    run = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid])
    readers = [client.send("exec_next", CTXID=ctxid, STREAM=stream) for stream in (0, 1)]
    release = script.held("prepare")
    again = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid])
    assert client.read(again).code == 3001
    script.on("prompt", "fail")
    release()
    assert client.read(run).code == 3000
    assert {client.read(seq).code for seq in readers} == {2013}


def test_clearing_while_a_prompt_is_prepared_is_3009(client: RawClient, script: Script) -> None:
    ctxid = client.context()
    msgid = client.say(ctxid, "Hello!")
    script.on("prepare", "hold")
    run = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid])
    reader = client.send("exec_next", CTXID=ctxid)
    release = script.held("prepare")
    cleared = client.send("inf_clear_context_history", CTXID=ctxid)
    assert client.read(reader).code == 2013
    release()
    assert client.read(run).code == 3009
    assert client.read(cleared).code == 2000
    assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2010
    assert client.ask(ctxid, "Hello!")[0]


def test_a_run_may_be_stopped_before_it_begins(client: RawClient, script: Script) -> None:
    ctxid = client.context()
    msgid = client.say(ctxid, "Hello!")
    script.on("prepare", "hold")
    run = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid])
    reader = client.send("exec_next", CTXID=ctxid)
    release = script.held("prepare")
    stop = client.send("exec_stop", CTXID=ctxid)
    client.ok("inf_get_context_ids")
    release()
    assert client.read(run).code == 3000
    assert client.read(stop).code == 3000
    last = client.read(reader)
    assert last.keys["FINISH_REASON"] == "cancelled"
    assert not last.data
    assert client.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"] == [True, True]


def test_the_session_may_end_while_a_prompt_is_prepared(
    client: RawClient, script: Script, scripted: tuple[Daemon, Script]
) -> None:
    with RawClient(scripted[0]).login("admin", scripted[0].admin) as other:
        ctxid = other.context()
        msgid = other.say(ctxid, "Hello!")
        script.on("prepare", "hold")
        run = other.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid])
        reader = other.send("exec_next", CTXID=ctxid)
        release = script.held("prepare")
        ended = other.send("inf_destroy_session")
        assert other.read(reader).code == 2013
        release()
        assert other.read(run).code in (2002, 2005)
        assert other.read(ended).code == 2000
    assert client.ok("inf_get_model_info", MODEL="demo").keys["CONTEXTS"] == 0


def test_unloading_ends_a_run_and_whoever_waits(client: RawClient, script: Script) -> None:
    client.ok("inf_load_model", MODEL="twin", CTXSIZE=1000)
    ctxid = client.context("twin", 500)
    script.on("token", "hold")
    client.execute(ctxid, client.say(ctxid, "My name is Ada."))
    release = script.held("token")
    client.read(client.send("exec_next", CTXID=ctxid))
    waiting = client.send("exec_next", CTXID=ctxid, STREAM=1)
    unloaded = client.send("inf_unload_model", MODEL="twin")
    assert client.read(waiting).code == 2013
    release()
    assert client.read(unloaded).code == 2000
    client.refused(2005, "exec_next", CTXID=ctxid)


def test_a_crash_of_a_handler_is_1099_with_its_incident(
    client: RawClient, script: Script, scripted: tuple[Daemon, Script]
) -> None:
    script.on("listing", "crash nobody foresaw this")
    answer = client.refused(1099, "inf_get_program_models")
    assert "nobody foresaw" not in answer.keys["DETAIL"]
    logged = scripted[0].wait_log(
        lambda line: line.get("incident") == answer.keys["INCIDENT"] and "exception" in line
    )
    assert "nobody foresaw this" in logged["exception"]
    script.off("listing")
    client.ok("inf_get_program_models")
