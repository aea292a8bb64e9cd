"""inf_create_context while lonely sessions give way: what ends meanwhile leaves nothing behind."""

from __future__ import annotations

from support.daemon import BUDGET, Daemon
from support.people import People, Person
from support.raw_client import RawClient, Wire

from infd_protocol import codec, frames


def lonely(person: Person, looker: RawClient) -> None:
    """Leave a session without a connection that holds the whole budget."""
    with person.enter() as client:
        client.context(size=BUDGET)
    while all(
        session["CONNECTIONS"]
        for session in looker.ok("inf_get_sessions", USERNAME=person.username).keys["SESSIONS"]
    ):
        pass


def test_a_session_that_ends_meanwhile_keeps_no_context(fresh_daemon: Daemon) -> None:
    """Else nobody could free it, and unloading would wait for it for ever."""
    with People(fresh_daemon) as people:
        person = people.user(limits=BUDGET, models=("demo",))
        lonely(person, people.root)
        with person.enter() as client, Wire(fresh_daemon) as wire:
            stok = client.stok
            together = [
                [1, "inf_create_context", {"STOK": stok, "MODEL": "demo", "CTXSIZE": 64}, None],
                [2, "inf_destroy_session", {"STOK": stok}, None],
            ]
            wire.send(b"".join(frames.frame(codec.encode(request)) for request in together))
            answers = [wire.read(), wire.read()]
        assert {answer[0]: answer[1] for answer in answers if answer} == {1: 2002, 2: 2000}
        info = people.root.ok("inf_get_model_info", MODEL="demo").keys
        assert (info["CONTEXTS"], info["BUDGET_FREE"]) == (0, BUDGET)
        people.root.ok("inf_unload_model", MODEL="demo")


def test_rights_that_go_meanwhile_bind(fresh_daemon: Daemon) -> None:
    """The model is taken from the user while its other session makes room."""
    with People(fresh_daemon) as people:
        person = people.user("USER_ACCESS_MODIFICATION", limits=BUDGET, models=("demo",))
        lonely(person, people.root)
        with person.enter() as client, Wire(fresh_daemon) as wire:
            stok = client.stok
            none = {"STOK": stok, "USERNAME": person.username, "MODEL": []}
            together = [
                [1, "inf_create_context", {"STOK": stok, "MODEL": "demo", "CTXSIZE": 64}, None],
                [2, "inf_modify_user_accept_models", none, None],
            ]
            wire.send(b"".join(frames.frame(codec.encode(request)) for request in together))
            answers = [wire.read(), wire.read()]
            codes = {answer[0]: answer[1] for answer in answers if answer}
            assert codes[2] == 2000
            assert codes[1] in (2000, 2014)
            client.refused(2005, "inf_get_context_status", CTXID=1)
