"""The REPL: lines in, replies out as they come.

Ctrl-C stops the reply and keeps what was shown of it: exec_stop carries the number of bytes
shown, so the model's history holds what the person saw. What was typed meanwhile goes with it;
else it is the next line. Everything that goes wrong is one line, and the prompt comes back. A
session that is gone is opened anew, and the message sent again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from infd_client import (
    Client,
    InfAuthorizationFailed,
    InfContextHalted,
    InfContextIdMismatch,
    InfdError,
    InfSessionTokenMismatch,
    Stream,
)
from infd_repl import access, commands, models, piped, problems
from infd_repl.conversation import Conversation
from infd_repl.interrupts import Interrupts
from infd_repl.plain import one_line
from infd_repl.problems import REPORTED, explain, why_cut
from infd_repl.prompt import Prompt
from infd_repl.terminal import undisturbed
from infd_repl.view import View

_GONE: dict[type[BaseException], str] = {
    InfSessionTokenMismatch: "Your session is over (was the daemon restarted?).",
    InfContextIdMismatch: "Your context is gone (was its model unloaded?).",
}

_NEWS = {
    "lost": "The connection was lost; reconnecting …",
    "back": "Connected again.",
    "away": "The daemon cannot be reached; the next command tries again.",
}


class News:
    """What becomes of the connection, told to the person as it changes."""

    def __init__(self, view: View) -> None:
        self.away = False
        """Whether there is no connection now."""
        self.talk: Conversation | None = None
        """What is no longer known to be there when the connection is lost."""
        self._view = view

    def __call__(self, change: str) -> None:
        self.away = change != "back"
        if self.away and self.talk is not None:
            self.talk.doubt()
        self._view.notice(_NEWS[change])


class Repl:
    """One talk at a terminal."""

    def __init__(self, talk: Conversation, view: View, news: News) -> None:
        self.talk = talk
        self.view = view
        self._news = news
        news.talk = talk
        self._prompt = Prompt(talk, lambda: news.away)

    def run(self) -> None:
        """Ask and answer until the person leaves."""
        while True:
            try:
                line = self._prompt.ask()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            try:
                self._guarded(lambda line=line: self._handle(line))  # type: ignore[misc]
            except commands.Quit:
                return
            if not (self.talk.facts.known or self._news.away):
                self.talk.refresh_soon()

    def edited(self, text: str) -> str:
        """The text as the person changes it; "" if they gave up."""
        self.view.notice("Change the message: Enter sends it, Ctrl-C leaves it as it was.")
        return self._prompt.edit(text)

    def tell_context(self) -> None:
        """Say where the talk goes on."""
        facts = self.talk.facts
        self.view.notice(f"Context {facts.ctxid} on {facts.model}, {facts.size} tokens.")
        self.tell_if_small()

    def tell_if_small(self) -> None:
        """Say so if the context is smaller than one is by itself."""
        chat = self.talk.chat if self.talk.current is not None else None
        if chat is not None and (why := problems.why_small(chat.ctxsize, chat.wanted)):
            self.view.notice(why)

    def show(self, stream: Stream) -> None:
        """Print a reply as it comes. Ctrl-C stops it where it is."""
        shown = 0
        try:
            with undisturbed(self.view.resumed), Interrupts() as interrupts:
                for piece in stream:
                    with interrupts.held():  # what is printed is counted
                        self.view.piece(piece)
                        shown += len(piece.encode())
                self.view.end_line()
        except KeyboardInterrupt:
            self._prompt.forget_typed()
            self.view.end_line()
            if self._news.away:
                self.view.notice(
                    "The reply will be stopped as soon as the daemon can be reached again. Press "
                    "Ctrl-C once more not to wait for that: then the reply goes on there."
                )
            self._stop(stream, shown)
            self.view.notice("Stopped.")
        finally:
            self.view.end_line()
        if why := self._why_cut(stream):
            self.view.notice(why)
        self.talk.refresh()

    def _why_cut(self, stream: Stream) -> str:
        chat = self.talk.chat if self.talk.current is not None else None
        if chat is None or not chat.is_reading(stream):
            return why_cut(stream.result, problems.REPL)
        most = chat.sampling.get("max_tokens")
        return why_cut(stream.result, problems.REPL, size=chat.ctxsize, most=most)

    def _stop(self, stream: Stream, shown: int) -> None:
        chat = self.talk.chat
        if chat.is_reading(stream):
            chat.stop(shown)
        else:
            stream.stop()

    def _handle(self, line: str) -> None:
        if not line.strip():
            return
        if line.startswith("/") and not line.startswith("//"):
            # Not anew for a context or a session that the person named.
            gone = () if "STOK=" in line.upper() else InfSessionTokenMismatch
            self._anew_if(gone, self._log_in_again, lambda: commands.run(self, line))
            return
        self._say(line[1:] if line.startswith("//") else line)

    def _say(self, text: str) -> None:
        def send() -> None:
            stream = self.talk.ready().send(text)
            self.talk.remember(text)
            self.show(stream)

        def say() -> None:
            self._anew_if(InfContextIdMismatch, self._replace, send)

        self._anew_if(InfSessionTokenMismatch, lambda: self._log_in_again(sends=True), say)

    def _anew_if(
        self, gone: type[InfdError] | tuple[()], again: Callable[[], None],
        work: Callable[[], None],
    ) -> None:  # fmt: skip
        """Do it; if the session or context is gone, once more in a new one. `again` says so, in
        words for people; what is gone is told here only if `again` fails too."""
        try:
            work()
        except gone as error:
            try:
                again()
            except REPORTED as failed:
                if not isinstance(failed, InfAuthorizationFailed):  # that is told there
                    self.view.problem(_GONE.get(type(error)) or explain(error, problems.REPL))
                raise
            work()

    def _log_in_again(self, *, sends: bool = False) -> None:
        guess = " (was the daemon restarted?)"
        try:
            self.talk.log_in_again()
        except InfAuthorizationFailed as error:
            self.view.notice(
                f"Your session is over, and {self.talk.username} can no longer log in with the "
                "same access token: was it changed, or the user deleted?"
            )
            guess = ""
            self._log_in_anew(error)
        then = ", and your message is sent again" if sends else ""
        self.view.notice(
            f"Your session was over{guess}, so you are logged in again: the conversation "
            f"begins anew{then}."
        )

    def _log_in_anew(self, refused: InfAuthorizationFailed) -> None:
        """With another token that the person types; raises `refused` if they have none."""
        try:
            token = access.ask_token(self.talk.client, self.talk.username)
        except EOFError:
            raise refused from None
        self.talk.logged_in(token)

    def _replace(self) -> None:
        self.talk.replace()
        self.view.notice(
            "Your context was gone (was its model unloaded?): the conversation begins anew in "
            "another one, and your message is sent again."
        )

    def _told_of_its_end(self, error: InfContextHalted) -> None:
        """The reply ended early. Say why, and what to do: that depends on what is still there."""
        lost = self.talk.lost()
        if lost:
            why = one_line(error.detail)
            self.view.problem(
                f"The reply ends here. {why} {lost}: your next message begins a new conversation."
            )
        else:
            self.view.problem(explain(error, problems.REPL))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it; what goes wrong is one line."""
        try:
            work()
        except KeyboardInterrupt:
            self._prompt.forget_typed()
            self.view.end_line()
            self.view.notice("Interrupted.")
            self.talk.refresh_soon()
        except InfContextHalted as error:
            self.view.end_line()
            self._told_of_its_end(error)
        except REPORTED as error:
            self.view.end_line()
            self.view.problem(explain(error, problems.REPL))
            if isinstance(error, InfContextIdMismatch | InfSessionTokenMismatch):
                self.talk.refresh_soon()


def _choose(client: Client, wanted: str | None, view: View) -> str:
    names = models.accessible(client)
    found = wanted or models.only_one(client, names)
    while found is None:
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
        view.line(f"Models: {listed}")
        answer = input("Which one, by name or number? ").strip().removeprefix("/model ").strip()
        found = models.picked(answer, names)
        if answer == "/quit":
            raise commands.Quit
        if found is None and answer.startswith("/"):
            view.line("A name or a number, please; /quit or Ctrl-D leaves. Commands come later.")
        elif found is None and answer:
            view.line(f"There is no model {answer} for you.")
    return found


def start(given: argparse.Namespace) -> int:
    """Connect, choose a model, talk; the exit status."""
    view = View()
    news = News(view)
    with access.client_for(given, news) as client:
        try:
            username, token = access.log_in(
                client, given, ask=True,
                slow=lambda: view.notice(f"Connecting to {client.address} …"),
            )  # fmt: skip
            talk = Conversation(
                client, username, token, system=given.system, size=given.context,
                sampling=piped.sampling_of(given),
            )  # fmt: skip
            talk.refresh_names()
            talk.model = _choose(client, given.model, view)
            try:
                talk.begin()
                where = f"model {talk.model}, {talk.facts.size} tokens"
            except InfdError as error:
                # No reason to leave: an administrator may load the model from here.
                view.problem(explain(error, problems.REPL))
                where = "no context yet"
            view.notice(f"infd at {client.address}, {where}. /help lists commands, Ctrl-D leaves.")
            repl = Repl(talk, view, news)
            repl.tell_if_small()
            repl.run()
        except commands.Quit:
            pass
        except EOFError:
            print(file=sys.stderr)
        finally:
            access.leave(client)
    return 0
