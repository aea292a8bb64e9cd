"""`infc` in pipes and scripts, as a process against a real daemon."""

from __future__ import annotations

import json
from importlib import metadata

import pytest
from support.foreign import Foreigner
from support.infc import answered, refused, runner
from support.people import People
from support.scripted_server import STOK, ScriptedServer, refusing

from infd_protocol.operations import OPERATIONS
from infd_repl import access
from infd_repl.cli import main


@pytest.fixture
def users(daemon):
    """Makes users who may use demo, with contexts of so many tokens."""
    made = []
    with People(daemon) as people:

        def make(ctxlength):
            made.append(people.user(CTXLENGTH=ctxlength, models=("demo",)))
            return made[-1]

        yield make
        for person in made:
            people.root.ok("inf_delete_user", USERNAME=person.username, ACCTOK=person.token)
        people.root.ok("inf_destroy_session")


def of(person, tmp_path):
    """The infc of this person."""
    url = f"infd://{person.username}@{person.daemon.host}:{person.daemon.port}"
    return runner(url, person.token, tmp_path)


def test_lines_are_one_conversation(infc):
    """No argument, a pipe on standard input: a message a line, a reply a line."""
    said = "My name is Ada.\n\nWhat is my name?\n"
    for arguments in ((), ("chat", "--lines")):
        lines = answered(infc(*arguments, stdin=said)).splitlines()
        assert len(lines) == 2
        assert "Ada" in lines[1]


def test_a_conversation_that_fills_the_context_begins_anew(infc):
    said = "My name is Ada. " * 8
    done = infc("--context", "128", "--max-tokens", "8", stdin=f"{said}\n{said}\n{said}\n")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert "begins anew" in done.stderr


def test_ask(infc):
    options = ("--model", "demo", "--temp", "0", "--max-tokens", "30")
    reply = answered(infc("ask", "What is infd?", *options))
    assert "infd" in reply
    assert reply.endswith("\n")
    assert not reply.endswith("\n\n")
    assert answered(infc("ask", "-", *options, stdin="What is infd?")) == reply
    assert answered(infc(*options, "ask", "What is infd?")) == reply


def test_a_reply_that_was_cut_is_told_on_standard_error(infc):
    options = {
        ("--max-tokens", "5"): "at 5 tokens, which is max_tokens. --max-tokens N allows more.",
        ("--context", "32"): "the context of 32 tokens is full. --context N makes a larger",
        ("--context", "32", "--max-tokens", "30"): "the context of 32 tokens is full.",
    }
    for given, why in options.items():
        for arguments, stdin in ((("ask", "Count from 1 to 12."), ""), ((), "Count to 12.\n")):
            done = infc("--temp", "0", *given, *arguments, stdin=stdin)
            assert done.returncode == 0
            assert done.stdout.startswith("1, 2")
            assert done.stderr.startswith("infc: The reply was cut")
            assert why in done.stderr
    full = infc("ask", "Count from 1 to 12. " * 9, "--context", "32")
    refused(full, "(3005)", "(--context N makes a larger context)")


def test_ask_refused(infc):
    listed = "'nope'; `infc call inf_get_program_models` lists what there is.\n"
    refused(infc("ask", "hi", "--model", "nope"), "INF_MODEL_NAME_MISMATCH (2004)", listed)
    wrong = infc("ask", "hi", INFD_TOKEN="wrong token")
    said = "(2008): The name or the access token is wrong. That was as admin at "
    refused(wrong, said, "with the access token in INFD_TOKEN.")
    refused(infc("ask", "-", stdin=" \n"), "empty")
    refused(infc("ask", "-", stdin="\udcff\udcfe hi"), "not UTF-8")
    refused(infc("ask", "\udcff"), "infc: The message is not UTF-8.\n")
    refused(infc("ask", "hi", "--system", "\udcff"), "infc: A text that was given is not UTF-8.\n")
    half = infc("--temp", "0", stdin="My name is Ada.\n\udcff\n")
    assert (half.returncode, half.stderr) == (1, "infc: Line 2 of standard input is not UTF-8.\n")
    assert "Ada" in half.stdout
    refused(infc("ask", "hi", "--context", "8"), "INF_INVALID_TOKEN_LIMIT (2006)")
    refused(infc("ask", "hi", INFD_TOKEN=""), "INFD_TOKEN")
    secret = infc("ask", "hi", INFD_URL="infd://a:secret@h")
    refused(secret, "password", "INFD_TOKEN or a token file.\n")
    refused(infc("ask", "hi", INFD_URL="http://h"), "infd://USER@HOST:PORT")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fly",), "infc: unknown option --fly; see: infc --help\n"),
        (("ask", "hi", "--fly"), "infc ask: unknown option --fly; see: infc ask --help\n"),
        (("ask",), "TEXT; see: infc ask --help"),
        (("call",), "infc call: the following arguments are required: OP; see: infc call --help"),
        (("--context", "many"), "many"),
        (("shout", "hi"), "shout"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(infc, arguments, said):
    done = infc(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("infc")
    assert done.stderr.count("\n") == 1


def test_nobody_listens(tmp_path):
    with ScriptedServer() as server:
        pass
    infc = runner(f"infd://ada@127.0.0.1:{server.port}", "ada's token", tmp_path)
    refused(infc("ask", "hi"), "Cannot connect", "Is infd running there?")


def test_what_is_no_daemon_is_told_at_once(tmp_path):
    with Foreigner(b"SSH-2.0-OpenSSH_9.2\r\n") as server:
        infc = runner(f"infd://ada@127.0.0.1:{server.port}", "ada's token", tmp_path)
        refused(infc("ask", "hi"), f"127.0.0.1:{server.port} is no infd daemon", "a frame of")
        assert server.taken == 1


@pytest.mark.parametrize("command", [("ask", "hi"), ("call", "inf_hello"), ("chat", "--lines")])
def test_what_is_silent_is_not_waited_for_long(command, monkeypatch, capsys):
    monkeypatch.setattr(access, "FIRST_ANSWER", 0.5)
    with Foreigner() as server:
        assert main([*command, "--url", f"infd://ada@127.0.0.1:{server.port}"]) == 1
        said = f"infc: 127.0.0.1:{server.port} took the connection and says nothing: is that an"
    assert capsys.readouterr().err.startswith(said)


def test_version(infc):
    assert answered(infc("--version")) == f"infc {metadata.version('infd')}\n"


def test_a_budget_that_is_used_up(tmp_path):
    full = refusing(2019, DETAIL="Model scripted has 9 of its 99 tokens of context left.", LIMIT=9)
    with ScriptedServer(handlers={"inf_create_context": full}) as server:
        infc = runner(f"infd://ada@127.0.0.1:{server.port}", "ada's token", tmp_path)
        options = ("--model", "scripted", "--context", "50")
        # Nothing as small as that can be made.
        for done in (infc("ask", "hi", *options), infc(*options, stdin="hi\n")):
            refused(done, "9 of its 99")
            assert "--context" not in done.stderr
        plain = infc("call", "inf_create_context", "MODEL=scripted", "CTXSIZE=50")
        refused(plain, "9 of its 99")


def test_a_budget_that_has_room_for_less(infc):
    """What the daemon says is free is what the command says to take."""
    left = "(--context N fits with N from 32 to 16384)"
    refused(infc("ask", "hi", "--model", "demo", "--context", "20000"), "(2019)", left)
    refused(infc("--model", "demo", "--context", "20000", stdin="hi\n"), left)
    plain = infc("call", "inf_create_context", "MODEL=demo", "CTXSIZE=20000")
    refused(plain, "(2019)")
    assert "--context" not in plain.stderr


def test_a_share_that_has_room_for_less(users, tmp_path):
    ada, _ = users(9000), users(9000)
    refused(of(ada, tmp_path)("ask", "hi", "--context", "9000"), "with N from 32 to 8192)")


def test_a_user_with_small_contexts_needs_no_option(users, tmp_path):
    said = "My name is Ada.\nWhat is my name?\n"
    assert "Ada" in answered(of(users(100), tmp_path)(stdin=said))


def test_call_prints_json_into_a_pipe(infc):
    given = json.loads(answered(infc("call", "inf_get_users")))
    assert given["code"] == 2000
    assert given["name"] == "INF_SUCCESS"
    assert "admin" in given["keys"]["USERNAME"]
    tokens = json.loads(answered(infc("call", "inf_tokenize", "model=demo", "--data", "hi")))
    listed = ",".join(map(str, tokens["keys"]["TOKENS"]))
    text = json.loads(answered(infc("call", "inf_detokenize", "MODEL=demo", f"TOKENS={listed}")))
    assert text["data"].strip() == "hi"
    piped = infc("call", "inf_tokenize", "model=demo", "--data", "-", stdin="hi")
    assert json.loads(answered(piped)) == tokens


def test_call_refused(infc):
    refused(infc("call", "inf_get_user", "USERNAME=nobody"), "INF_USER_NOT_FOUND (2021)")
    refused(infc("call", "inf_get_usr"), "Did you mean inf_get_user")
    refused(infc("call", "inf_load_model", "MODEL=demo", "CTXSIZE=much"), "CTXSIZE must be")
    refused(infc("call", "inf_load_model", "NAME=demo"), "takes no key NAME")


def test_users_by_call_with_tokens_from_files_only(infc, tmp_path):
    limits = ["ACCLIMIT=1", "CTXLENGTH=512", "BATCH_SET=0", "MAX_PROC_THREADS=1",
              "PROC_THREADS=1", "AUTHFLAGS="]  # fmt: skip
    refused(infc("call", "inf_create_new_user", "USERNAME=eve", "ACCTOK=visible"), "ACCTOK=@FILE")
    token = tmp_path / "eve"
    token.write_text("eve's access token\n")
    token.chmod(0o600)
    create = ("call", "inf_create_new_user", "USERNAME=eve", f"ACCTOK=@{token}", *limits)
    assert json.loads(answered(infc(*create)))["keys"]["ACCTOK"] == "eve's access token"
    opened = infc("--user", "eve", "--token-file", str(token), "call", "inf_access_request")
    session = json.loads(answered(opened))["keys"]["STOK"]
    contexts = infc("call", "inf_get_context_ids", INFD_STOK=session, INFD_TOKEN="")
    assert json.loads(answered(contexts))["keys"] == {"CTXID": []}
    # The confirming token is the caller's own when it is left out.
    answered(infc("call", "inf_delete_user", "USERNAME=eve"))
    refused(infc("call", "inf_get_context_ids", INFD_STOK=session), "2002")


def test_sessions_of_commands_end_with_them(infc, daemon):
    answered(infc("ask", "hi", "--model", "demo"))
    refused(infc("ask", "hi", "--model", "nope"))
    answered(infc("call", "inf_get_users"))
    given = json.loads(answered(infc("call", "inf_get_server_stats")))
    assert given["keys"]["CONTEXTS"] == 0
    sessions = json.loads(answered(infc("call", "inf_get_sessions", "USERNAME=admin")))
    assert len(sessions["keys"]["SESSIONS"]) == 1


@pytest.mark.parametrize("name", ["", *OPERATIONS])
def test_help_from_the_table(name, capsys):
    assert main(["help", *([name] if name else [])]) == 0
    said = capsys.readouterr().out
    rows = [OPERATIONS[name]] if name else OPERATIONS.values()
    for row in rows:
        assert row.name in said
    for key in OPERATIONS[name].takes if name else ():
        assert key.name in said


def test_help_tells_range_and_option_apart_from_the_rest(infc):
    said = " ".join(answered(infc("help", "inf_create_new_user")).split())
    assert "temperature; 0: greedy; at least 0; optional REPEAT_N" in said
    assert "above 0; optional" in said
    assert "; optional out type" in said  # DATA


def test_control_characters_reach_a_pipe_as_they_are_but_errors_are_made_harmless(tmp_path):
    with ScriptedServer(replies={1: "\x1b[31mred"}) as server:
        infc = runner(f"infd://ada@127.0.0.1:{server.port}", "ada's token", tmp_path)
        options = ("--model", "scripted", "--context", "99")
        assert answered(infc("ask", "hi", *options)) == "\x1b[31mred\n"
        server.handlers["exec_execute_input"] = refusing(3004, DETAIL="bad\x1b[2J\ntemplate")
        refused(infc("ask", "hi", *options), "bad\\x1b[2J template")
    assert {request.keys.get("STOK", STOK) for request in server.asked} == {STOK}
