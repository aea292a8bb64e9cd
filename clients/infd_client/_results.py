"""The results of all operations.

Made by `python -m infd_client.generate` from the operations table; changes here are lost.
"""

from __future__ import annotations

from typing import Any

from infd_client.results import Given, Maybe, Result, TextResult


class InfHelloResult(Result):
    """Say which version serves, and which operations it has.

    version: the daemon's version.
    protocol: the protocol's version.
    max_frame: the longest frame of a session, in bytes.
    operations: each operation's in keys, by its name.
    """

    __slots__ = ()

    version = Given[str]("VERSION")
    protocol = Given[int]("PROTOCOL")
    max_frame = Given[int]("MAX_FRAME")
    operations = Given[dict[str, Any]]("OPERATIONS")


class InfAccessRequestResult(Result):
    """Open a session.

    stok: the session token.
    """

    __slots__ = ()

    stok = Given[str]("STOK")


class InfDestroySessionResult(Result):
    """End this session and its contexts."""

    __slots__ = ()


class InfGetSessionsResult(Result):
    """List a user's sessions.

    sessions: one map a session.
    """

    __slots__ = ()

    sessions = Given[list[dict[str, Any]]]("SESSIONS")


class InfEndSessionsResult(Result):
    """End all sessions of a user.

    sessions: how many were ended.
    """

    __slots__ = ()

    sessions = Given[int]("SESSIONS")


class InfGetServerStatsResult(Result):
    """Tell what the daemon has done and holds.

    uptime: seconds since the start.
    connections: open connections.
    sessions: live sessions.
    contexts: live contexts.
    runs: runs under way.
    requests: requests answered.
    tokens_in: prompt tokens evaluated.
    tokens_out: tokens generated.
    models: loaded models.
    cores: cores that the scheduler hands out.
    users: by user, for superusers: the counts, and PROCESSOR_MS (optional).
    """

    __slots__ = ()

    uptime = Given[int]("UPTIME")
    connections = Given[int]("CONNECTIONS")
    sessions = Given[int]("SESSIONS")
    contexts = Given[int]("CONTEXTS")
    runs = Given[int]("RUNS")
    requests = Given[int]("REQUESTS")
    tokens_in = Given[int]("TOKENS_IN")
    tokens_out = Given[int]("TOKENS_OUT")
    models = Given[list[str]]("MODELS")
    cores = Given[int]("CORES")
    users = Maybe[list[dict[str, Any]]]("USERS")


class InfGetAccessibleModelsResult(Result):
    """List the models that this user may use.

    model: their names.
    """

    __slots__ = ()

    model = Given[list[str]]("MODEL")


class InfGetProgramModelsResult(Result):
    """List the registered models, loaded or not.

    models: their names.
    """

    __slots__ = ()

    models = Given[list[str]]("MODELS")


class InfGetModelInfoResult(Result):
    """Describe a model.

    file_size: bytes, as a decimal string.
    parameters: parameters, as a decimal string (optional).
    architecture: llama.cpp's name of it (optional).
    training_context: tokens (optional).
    template: whether it has a chat template (optional).
    loaded: whether it can serve.
    progress: of loading, 0 to 1 (optional).
    budget_used: tokens of live contexts.
    budget_free: tokens left for contexts.
    contexts: live contexts.
    """

    __slots__ = ()

    file_size = Given[str]("FILE_SIZE")
    parameters = Maybe[str]("PARAMETERS")
    architecture = Maybe[str]("ARCHITECTURE")
    training_context = Maybe[int]("TRAINING_CONTEXT")
    template = Maybe[bool]("TEMPLATE")
    loaded = Given[bool]("LOADED")
    progress = Maybe[float]("PROGRESS")
    budget_used = Given[int]("BUDGET_USED")
    budget_free = Given[int]("BUDGET_FREE")
    contexts = Given[int]("CONTEXTS")


class InfLoadModelResult(Result):
    """Load a model, or change the budget of a loaded one."""

    __slots__ = ()


class InfUnloadModelResult(Result):
    """End a model's contexts and free its memory."""

    __slots__ = ()


class InfTokenizeResult(Result):
    """Make text into tokens.

    tokens: token ids.
    """

    __slots__ = ()

    tokens = Given[list[int]]("TOKENS")


class InfDetokenizeResult(TextResult):
    """Make tokens into text.

    data: the text.
    """

    __slots__ = ()


class InfGetContextIdsResult(Result):
    """List this session's contexts.

    ctxid: their ids.
    """

    __slots__ = ()

    ctxid = Given[list[int]]("CTXID")


class InfCreateContextResult(Result):
    """Make a context on a loaded model.

    ctxid: its id, counted from 1 in the session.
    """

    __slots__ = ()

    ctxid = Given[int]("CTXID")


class InfClearContextHistoryResult(Result):
    """Abort what runs, and forget messages and state."""

    __slots__ = ()


class InfGetContextStatusResult(Result):
    """Tell the state of a context, as the code.

    model: its model.
    ctxsize: its size in tokens.
    tokens_used: tokens it holds.
    prompt_tokens: tokens of the prompt (optional).
    prompt_done: of them evaluated (optional).
    queue_position: 1: next to be given cores; 0: not waiting (optional).
    estimate_ms: milliseconds until it is probably given cores; 0: not waiting (optional).
    """

    __slots__ = ()

    model = Given[str]("MODEL")
    ctxsize = Given[int]("CTXSIZE")
    tokens_used = Given[int]("TOKENS_USED")
    prompt_tokens = Maybe[int]("PROMPT_TOKENS")
    prompt_done = Maybe[int]("PROMPT_DONE")
    queue_position = Maybe[int]("QUEUE_POSITION")
    estimate_ms = Maybe[int]("ESTIMATE_MS")


class InfDestroyContextResult(Result):
    """Abort what runs, and free the context."""

    __slots__ = ()


class InfCreateNewUserResult(Result):
    """Create a user.

    acctok: the access token, shown this once.
    """

    __slots__ = ()

    acctok = Given[str]("ACCTOK")


class InfDeleteUserResult(Result):
    """Delete a user and end its sessions."""

    __slots__ = ()


class InfModifyUserModelAccessLimitResult(Result):
    """Set how many models a user may have."""

    __slots__ = ()


class InfModifyUserMaximumContextLengthResult(Result):
    """Set a user's largest context size."""

    __slots__ = ()


class InfModifyUserBatchSizeResult(Result):
    """Set how many prompt tokens one call may carry."""

    __slots__ = ()


class InfModifyUserProcessorThreadCountResult(Result):
    """Set the threads of each of a user's contexts."""

    __slots__ = ()


class InfModifyUserMaxProcessorThreadCountResult(Result):
    """Set the threads of a user's contexts together."""

    __slots__ = ()


class InfModifyUserSystemPromptResult(Result):
    """Set a user's system prompt; without data, none."""

    __slots__ = ()


class InfModifyUserMakeSuperuserResult(Result):
    """Make a user a superuser."""

    __slots__ = ()


class InfModifyUserUnmakeSuperuserResult(Result):
    """Make a superuser an ordinary user."""

    __slots__ = ()


class InfModifyUserAcceptModelsResult(Result):
    """Set the models that a user may use.

    model: the list now in force.
    """

    __slots__ = ()

    model = Given[list[str]]("MODEL")


class InfModifyUserSetAuthorityFlagsResult(Result):
    """Replace a user's authority flags."""

    __slots__ = ()


class InfModifyUserSamplingSetResult(Result):
    """Replace a user's sampling set."""

    __slots__ = ()


class InfModifyUserAccessTokenResult(Result):
    """Change an access token; the other sessions end.

    acctok: the access token, shown this once.
    """

    __slots__ = ()

    acctok = Given[str]("ACCTOK")


class InfGetUsersResult(Result):
    """List the users.

    username: their names.
    """

    __slots__ = ()

    username = Given[list[str]]("USERNAME")


class InfGetUserResult(TextResult):
    """Show what is stored of a user, but for the token.

    username: the user's name.
    acclimit: how many distinct models the user may have; 0: none.
    ctxlength: the largest CTXSIZE of one context, in tokens; 0: no contexts at all.
    batch_set: prompt tokens that one call may carry; 0: 512.
    max_proc_threads: threads of all the user's contexts together; 0: 1.
    proc_threads: threads of each of the user's contexts; 0: 1.
    authflags: authority flags by name.
    issuper: 1 or 0.
    isstatic: 1 or 0.
    model: the models it may use.
    top_k: keep the K likeliest tokens; 0: all (optional).
    top_p: keep the likeliest tokens that sum to this probability; between 0 and 1 (optional).
    min_p: drop tokens below this share of the likeliest; between 0 and 1 (optional).
    typical_p: locally typical sampling; 1: off; between 0 and 1 (optional).
    temp: temperature; 0: greedy; at least 0 (optional).
    repeat_n: how many last tokens the penalties see; 0: none (optional).
    repeat_penalty: divides the logits of repeated tokens; above 0 (optional).
    repeat_present: taken off once for a token that occurred; between -2 and 2 (optional).
    repeat_frequency: taken off for each occurrence; between -2 and 2 (optional).
    repeat_lf: whether the newline token is penalised (optional).
    repeat_eot: whether the end tokens are penalised (optional).
    mirostat_v2_tau: mirostat v2: the surprise aimed at; above 0 (optional).
    mirostat_v2_eta: mirostat v2: how fast it adapts; above 0 (optional).
    data: the user's system prompt.
    """

    __slots__ = ()

    username = Given[str]("USERNAME")
    acclimit = Given[int]("ACCLIMIT")
    ctxlength = Given[int]("CTXLENGTH")
    batch_set = Given[int]("BATCH_SET")
    max_proc_threads = Given[int]("MAX_PROC_THREADS")
    proc_threads = Given[int]("PROC_THREADS")
    authflags = Given[list[str]]("AUTHFLAGS")
    issuper = Given[int]("ISSUPER")
    isstatic = Given[int]("ISSTATIC")
    model = Given[list[str]]("MODEL")
    top_k = Maybe[int]("TOP_K")
    top_p = Maybe[float]("TOP_P")
    min_p = Maybe[float]("MIN_P")
    typical_p = Maybe[float]("TYPICAL_P")
    temp = Maybe[float]("TEMP")
    repeat_n = Maybe[int]("REPEAT_N")
    repeat_penalty = Maybe[float]("REPEAT_PENALTY")
    repeat_present = Maybe[float]("REPEAT_PRESENT")
    repeat_frequency = Maybe[float]("REPEAT_FREQUENCY")
    repeat_lf = Maybe[bool]("REPEAT_LF")
    repeat_eot = Maybe[bool]("REPEAT_EOT")
    mirostat_v2_tau = Maybe[float]("MIROSTAT_V2_TAU")
    mirostat_v2_eta = Maybe[float]("MIROSTAT_V2_ETA")


class ExecSetInputResult(Result):
    """Store a message in a context.

    msgid: its id, counted from 1 in the context.
    """

    __slots__ = ()

    msgid = Given[int]("MSGID")


class ExecExecuteInputResult(Result):
    """Append messages to the history and start a run."""

    __slots__ = ()


class ExecNextResult(TextResult):
    """Read the reply: what was generated since the last reading.

    is_special: true in the reply's last answer (optional).
    offset: bytes of the reply before this piece.
    finish_reason: stop, length, stop_sequence, cancelled or orphaned (optional).
    msgid: the reply's message id (optional).
    seed: of the random draws (optional).
    tokens_in: tokens of the prompt (optional).
    tokens_cached: of them not computed again (optional).
    tokens_out: tokens generated (optional).
    prompt_ms: milliseconds spent on the prompt (optional).
    decode_ms: milliseconds spent generating (optional).
    data: a piece of the reply.
    """

    __slots__ = ()

    is_special = Maybe[bool]("IS_SPECIAL")
    offset = Given[int]("OFFSET")
    finish_reason = Maybe[str]("FINISH_REASON")
    msgid = Maybe[int]("MSGID")
    seed = Maybe[int]("SEED")
    tokens_in = Maybe[int]("TOKENS_IN")
    tokens_cached = Maybe[int]("TOKENS_CACHED")
    tokens_out = Maybe[int]("TOKENS_OUT")
    prompt_ms = Maybe[int]("PROMPT_MS")
    decode_ms = Maybe[int]("DECODE_MS")


class ExecStopResult(Result):
    """End the run; what was generated stays."""

    __slots__ = ()


class ExecGetMessagesResult(Result):
    """List the messages stored in a context.

    msgid: message ids.
    role: the role of each.
    in_history: whether each is in the history.
    text: the text of each.
    """

    __slots__ = ()

    msgid = Given[list[int]]("MSGID")
    role = Given[list[str]]("ROLE")
    in_history = Given[list[bool]]("IN_HISTORY")
    text = Given[list[str]]("TEXT")
