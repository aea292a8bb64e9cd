"""One context of a session: its messages, its run, and its engine behind the thread border.

States, and what moves them (all on the loop's thread):

    INITIALIZING --engine made--> IDLE --execute--> PREPARING --tokenised--> RUNNING --end--> IDLE
    PREPARING --refused--> IDLE          RUNNING --engine failed--> FAILED --clear--> IDLE
    any --close--> CLOSED                PREPARING --not made anew--> FAILED

`execute()` takes effect at once (the next execute is refused, readers wait for the new reply)
and finishes when the prompt is tokenised and queued. If it fails nothing has changed.
Nothing here knows of sockets: a reader's answers go to its `Sink`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from infd.accounts.user import User
from infd.contexts.execution import Execution
from infd.contexts.messages import Messages, with_system_prompt
from infd.contexts.reply import Reader, Reply
from infd.contexts.residence import Residence
from infd.contexts.tenant import Tenant
from infd.engine.errors import ContextError, TemplateError, TokenizeError
from infd.engine.sampling import SamplingParams
from infd.engine.worker import Aborted, Event, Failed, Finished, Progress, RunRequest, Text, Worker
from infd.models.memory import given_back
from infd_protocol import codes
from infd_protocol.errors import (
    ExecAlreadyProcessing,
    ExecMissingMessage,
    ExecProcessHalted,
    ExecTokenizationFailed,
    ExecTokenLimitExceeded,
    InfContextHalted,
    InfContextIdMismatch,
    InfContextInitializing,
    InfFailedToCreateContext,
    InfInvalidParams,
)


class State(Enum):
    INITIALIZING = auto()
    IDLE = auto()
    PREPARING = auto()
    RUNNING = auto()
    FAILED = auto()
    CLOSED = auto()


class Context:
    """See the head of this module. `user()` gives the owner as stored now."""

    def __init__(
        self,
        ctxid: int,
        model: str,
        ctxsize: int,
        worker: Worker,
        *,
        user: Callable[[], User],
        release: Callable[[], None],
        residence: Residence,
        run_timeout: float | None = None,
        on_finish: Callable[[Finished], None] | None = None,
        embedding_only: bool = False,
    ) -> None:
        self.ctxid = ctxid
        self.model = model
        self.ctxsize = ctxsize
        self.state = State.INITIALIZING
        self.messages = Messages(ctxsize)
        self.tenant = Tenant(worker, residence)
        self._worker = worker
        self._user = user
        self._release = release
        self._run_timeout = run_timeout
        self._on_finish = on_finish
        self._embedding_only = embedding_only
        self._loop = asyncio.get_running_loop()
        self._reply: Reply | None = None
        self._reply_id: int | None = None
        self._early: deque[Reader] = deque()
        self._history_before: list[int] = []
        self._attempt: object = None
        self._abort_wanted = False
        self._cut_at: int | None = None
        self._ending: str | None = None
        self._abort_detail = ""
        self._prompt = (0, 0)
        self._ended = self._loop.create_future()
        self._ended.set_result(None)
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    # --- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the engine. Raises InfFailedToCreateContext; closed meanwhile: InfContextIdMismatch.
        Not to be cancelled: the engine's thread would outlive the wait."""
        await self.tenant.come_in()
        try:
            if self.state is not State.CLOSED:
                await self._worker.start()
        except ContextError as error:
            raise InfFailedToCreateContext(f"{error}") from None
        if self.state is State.CLOSED:
            raise InfContextIdMismatch("The context was ended while it was made.")
        self.state = State.IDLE
        self.tenant.rest()

    async def close(self, reason: str = "The context was destroyed.") -> None:
        """Abort what runs, end every reader with 2013, free the engine. Idempotent; when it
        returns the memory is free and the budget is given back, also if cancelled meanwhile."""
        if self._closing is None:
            self.state = State.CLOSED
            self._halt(reason)
            self._closing = self._loop.create_task(self._close_worker())
        await asyncio.shield(self._closing)

    async def _close_worker(self) -> None:
        try:
            await self._worker.close()
        finally:
            self._release()
            self._settle()
        await given_back()

    def _halt(self, detail: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reply is not None and not self._reply.over:
            self._reply.halt(detail)
            self.messages.history = self._history_before
        while self._early:
            self._early.popleft().sink.refuse(InfContextHalted(detail))

    def _settle(self) -> None:
        self.tenant.rest()
        if not self._ended.done():
            self._ended.set_result(None)

    # --- what is asked of it ---------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.state in (State.PREPARING, State.RUNNING)

    async def ended(self) -> None:
        """Wait until no run is under way."""
        await asyncio.shield(self._ended)

    def require_ready(self) -> None:
        """Raises InfContextInitializing while the engine is made."""
        if self.state is State.INITIALIZING:
            raise InfContextInitializing("The context is being made; wait for its answer.")

    def status(self) -> tuple[int, dict[str, Any]]:
        """The code of inf_get_context_status and its keys. Raises InfContextHalted."""
        keys: dict[str, Any] = {
            "MODEL": self.model,
            "CTXSIZE": self.ctxsize,
            "TOKENS_USED": self._worker.tokens_used,
        }
        if self.state is State.INITIALIZING:
            return codes.INF_CONTEXT_INITIALIZING, keys
        if self.state is State.FAILED:
            raise InfContextHalted("The context's engine failed; clear or destroy the context.")
        if not self.busy:
            return codes.INF_CONTEXT_INACTIVE, keys
        keys["PROMPT_TOKENS"], keys["PROMPT_DONE"] = self._prompt
        keys["QUEUE_POSITION"] = self._worker.position
        keys["ESTIMATE_MS"] = self._worker.estimate_ms
        return codes.INF_CONTEXT_ACTIVE, keys

    async def execute(self, run: Execution) -> None:
        """Start a run. Returns when its prompt is queued. Raises the EXEC errors, 2016, 2012."""
        self.require_ready()
        if self.state is State.FAILED:
            raise ExecProcessHalted("The context's engine failed; clear or destroy the context.")
        if self.busy:
            raise ExecAlreadyProcessing("A run is under way; read it to its end or stop it.")
        if self._embedding_only:
            raise InfInvalidParams(f"Model {self.model} makes embeddings only; it cannot reply.")
        history = self.messages.plan(run.msgids)
        user = self._user()
        sampling = SamplingParams.merged(user.sampling, run.sampling)
        self.state = State.PREPARING
        attempt = self._attempt = object()
        self._ended = self._loop.create_future()
        self._ending, self._abort_detail, self._abort_wanted = None, "", False
        self._prompt = (0, 0)

        def request() -> RunRequest:
            # Only now: texts that were cleared while others were prepared are not kept for it.
            self._check_attempt(attempt)
            said = with_system_prompt(user.system_prompt, self.messages.texts(history))
            return RunRequest(said, sampling, run.seed, run.max_tokens, run.stop)

        try:
            await self.tenant.come_in()
            self._check_attempt(attempt)
            try:
                prepared = await self._worker.prepare(request)
            except (TemplateError, TokenizeError) as error:
                raise ExecTokenizationFailed(f"{error}") from None
            self._check_attempt(attempt)
            count = len(prepared.tokens)
            if count >= self.ctxsize:
                raise ExecTokenLimitExceeded(
                    f"The prompt has {count} tokens; the context's size is {self.ctxsize}.",
                    TOKENS=count, LIMIT=self.ctxsize,
                )  # fmt: skip
        except BaseException:
            if self._attempt is attempt:
                self._not_started()
            raise
        self._history_before = self.messages.history
        self.messages.history = history
        self._reply, self._reply_id, self._cut_at = Reply(), None, None
        self._prompt = (count, 0)
        self.state = State.RUNNING
        self._worker.run(prepared, self._on_event)
        if self._abort_wanted:
            self._worker.abort()
        elif self._ending is not None:
            self._worker.end(self._ending)
        if self._run_timeout:
            self._timer = self._loop.call_later(self._run_timeout, self._time_out)
        while self._early:
            self._reply.adopt(self._early.popleft())

    def _check_attempt(self, attempt: object) -> None:
        """Raises InfContextIdMismatch or ExecProcessHalted when it is of no use any more."""
        if self.state is State.CLOSED:
            raise InfContextIdMismatch("The context was ended meanwhile.")
        if self._attempt is not attempt:
            what = "'s engine failed" if self.state is State.FAILED else " was cleared meanwhile"
            raise ExecProcessHalted(f"The context{what}.")

    def _not_started(self) -> None:
        """The run was refused: readers who waited for it get what was there before."""
        if self.state is State.PREPARING:
            self.state = State.IDLE
        self._settle()
        while self._early:
            reader = self._early.popleft()
            if self._reply is not None:
                self._reply.adopt(reader)
            else:
                reader.sink.refuse(ExecMissingMessage("The run was refused; nothing to read."))

    def read(self, reader: Reader) -> None:
        """Answer the reader through its sink, now or later.

        Raises InfContextInitializing, ExecMissingMessage, InfContextHalted, InfInvalidParams.
        """
        self.require_ready()
        if self.state is State.PREPARING:
            self._early.append(reader)
        elif self._reply is None:
            raise ExecMissingMessage("Nothing was executed in this context yet.")
        else:
            self._reply.read(reader)
            self._worker.read_tokens = self._reply.tokens_read

    def resume(self, reader: Reader) -> None:
        """The reader's sink is writable again."""
        if reader.reply is not None:
            reader.reply.serve()
        if self._reply is not None:
            self._worker.read_tokens = self._reply.tokens_read

    def forget(self, reader: Reader) -> None:
        """The reader's connection is gone."""
        if reader.reply is not None:
            reader.reply.forget(reader)
        if reader in self._early:
            self._early.remove(reader)

    async def stop(self, offset: int | None = None, reason: str = "cancelled") -> None:
        """End the run as `reason`, keeping what was generated, cut at byte `offset` if given.
        Returns when it has ended, at once if nothing runs. Raises InfInvalidParams (offset)."""
        self.require_ready()
        if offset is not None and self._reply is not None and self.state is not State.PREPARING:
            self._reply.check_offset(offset)
            if self.state is State.RUNNING:
                self._cut_at = offset
            else:
                self._cut_reply(offset)
        if self.busy:
            self._ending = reason
            if self.state is State.RUNNING:
                self._worker.end(reason)
        await self.ended()

    def _cut_reply(self, offset: int) -> None:
        """Cut a finished reply, if it is the end of the history still."""
        history = self.messages.history
        if self._reply is None or self._reply_id is None or history[-1:] != [self._reply_id]:
            return
        self._reply.cut(offset)
        self.messages.cut_reply(self._reply_id, self._reply.text)

    def abort(self, detail: str) -> None:
        """End the run with 2013; the history is as before it. Nothing happens when idle."""
        self._abort_detail = detail
        self._abort_wanted = True
        if self.state is State.RUNNING:
            self._worker.abort()

    def orphan(self) -> None:
        """Nobody is connected any more: end a run that generates, abort one still in its prompt."""
        total, done = self._prompt
        if self.state is State.RUNNING and done >= total:
            self._ending = "orphaned"
            self._worker.end("orphaned")
        else:
            self.abort("The connection was lost while the prompt was evaluated.")

    async def clear(self) -> None:
        """Abort, forget messages and state, and make a failed engine anew. Returns when done.
        Raises InfFailedToCreateContext when a failed engine cannot be made anew."""
        if self.state is State.INITIALIZING:
            return
        # Not the state: another clear may be making it anew now, and fail.
        failed = self._worker.failed
        self._halt("The context's history was cleared.")
        self._attempt = None
        self._settle()
        self.messages.clear()
        self._reply_id = None
        if self._reply is not None and self._reply.finish is not None:
            self._reply = None
        self.state = State.IDLE
        try:
            await (self._worker.reopen() if failed else self._worker.clear())
        except ContextError as error:
            if self.state is not State.CLOSED:
                self._fail(str(error))
            raise InfFailedToCreateContext(f"{error}") from None
        if self.state is State.FAILED and not self._worker.failed:
            self.state = State.IDLE

    # --- what the engine tells -------------------------------------------------------------

    def _time_out(self) -> None:
        self.abort(f"The run took longer than run_timeout ({self._run_timeout:g} s).")

    def _on_event(self, event: Event) -> None:
        reply = self._reply
        if reply is None or reply.over or self.state is not State.RUNNING:
            return
        if type(event) is Text:
            self._prompt = (self._prompt[0], self._prompt[0])
            reply.add(event.text, event.tokens)
            self._worker.read_tokens = reply.tokens_read
        elif type(event) is Progress:
            self._prompt = (event.prompt_tokens, event.prompt_done)
        elif type(event) is Finished:
            self._finished(reply, event)
        elif type(event) is Aborted:
            self._halt(self._abort_detail or event.detail or "The run was aborted.")
            self.state = State.IDLE
            self._settle()
        elif type(event) is Failed:
            self._fail(event.detail)

    def _fail(self, detail: str) -> None:
        """The engine is of no use until it is made anew."""
        self._halt(f"The context's engine failed: {detail}")
        self._attempt, self.state = None, State.FAILED
        self._settle()

    def _finished(self, reply: Reply, event: Finished) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._cut_at is not None:
            reply.cut(self._cut_at)
        self._reply_id = self.messages.store_reply(reply.text)
        self.state = State.IDLE
        if self._on_finish is not None:
            self._on_finish(event)
        reply.end(
            {
                "FINISH_REASON": event.reason, "MSGID": self._reply_id, "SEED": event.seed,
                "TOKENS_IN": event.tokens_in, "TOKENS_CACHED": event.tokens_cached,
                "TOKENS_OUT": event.tokens_out,
                "PROMPT_MS": round(event.prompt_ms), "DECODE_MS": round(event.decode_ms),
            }
        )  # fmt: skip
        self._worker.read_tokens = reply.tokens_read
        self._settle()
