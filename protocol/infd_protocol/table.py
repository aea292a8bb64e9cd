"""The rows of the operations table. `rows.py` says how a row is read."""

from __future__ import annotations

from dataclasses import replace

from infd_protocol import codes as c
from infd_protocol.rows import SUPERUSER, Key, Operation
from infd_protocol.values import Kind, Range

_UNIT = Range(0.0, 1.0)
_PENALTY = Range(-2.0, 2.0)
_POSITIVE = Range(0.0, open_low=True)


def _opt(name: str, kind: Kind, doc: str, range: Range | None = None, ext: bool = False) -> Key:
    return Key(name, kind, doc, optional=True, range=range, ext=ext)


SAMPLING: tuple[Key, ...] = (
    _opt("TOP_K", Kind.UINT32, "keep the K likeliest tokens; 0: all"),
    _opt("TOP_P", Kind.F32, "keep the likeliest tokens that sum to this probability", _UNIT),
    _opt("MIN_P", Kind.F32, "drop tokens below this share of the likeliest", _UNIT),
    _opt("TYPICAL_P", Kind.F32, "locally typical sampling; 1: off", _UNIT),
    _opt("TEMP", Kind.F32, "temperature; 0: greedy", Range(0.0)),
    _opt("REPEAT_N", Kind.UINT32, "how many last tokens the penalties see; 0: none"),
    _opt("REPEAT_PENALTY", Kind.F32, "divides the logits of repeated tokens", _POSITIVE),
    _opt("REPEAT_PRESENT", Kind.F32, "taken off once for a token that occurred", _PENALTY),
    _opt("REPEAT_FREQUENCY", Kind.F32, "taken off for each occurrence", _PENALTY),
    _opt("REPEAT_LF", Kind.BOOL, "whether the newline token is penalised"),
    _opt("REPEAT_EOT", Kind.BOOL, "whether the end tokens are penalised"),
    _opt("MIROSTAT_V2_TAU", Kind.F32, "mirostat v2: the surprise aimed at", _POSITIVE),
    _opt("MIROSTAT_V2_ETA", Kind.F32, "mirostat v2: how fast it adapts", _POSITIVE),
)

_USERNAME = Key("USERNAME", Kind.STR, "the user's name")
_CONFIRM = Key("ACCTOK", Kind.STR, "confirms: the target's access token, or the caller's own")
_CTXID = Key("CTXID", Kind.ID, "the context's id")
_MODEL = Key("MODEL", Kind.STR, "the model's name")
_ACCLIMIT = Key("ACCLIMIT", Kind.UINT32, "how many distinct models the user may have; 0: none")
_CTXLENGTH = Key(
    "CTXLENGTH", Kind.UINT32, "the largest CTXSIZE of one context, in tokens; 0: no contexts at all"
)
_BATCH_SET = Key("BATCH_SET", Kind.UINT32, "prompt tokens that one call may carry; 0: 512")
_MAX_THREADS = Key(
    "MAX_PROC_THREADS", Kind.UINT32, "threads of all the user's contexts together; 0: 1"
)
_THREADS = Key("PROC_THREADS", Kind.UINT32, "threads of each of the user's contexts; 0: 1")
_AUTHFLAGS = Key("AUTHFLAGS", Kind.STR_LIST, "authority flags by name")
_LIMITS = (_ACCLIMIT, _CTXLENGTH, _BATCH_SET, _MAX_THREADS, _THREADS)

_TARGET_CODES = (c.INF_AUTHORIZATION_FAILED, c.INF_USER_NOT_FOUND)
_EXEC = frozenset({c.EXEC_SUCCESS})
_ON_CONTEXT = (c.INF_CONTEXT_ID_MISMATCH,)
_ON_READY_CONTEXT = (c.INF_CONTEXT_ID_MISMATCH, c.INF_CONTEXT_INITIALIZING)


def _modify(what: str, doc: str, key: Key, flag: str) -> Operation:
    return Operation(
        f"inf_modify_user_{what}", doc, takes=(_USERNAME, key), codes=_TARGET_CODES,
        flag=flag, ordered=True,
    )  # fmt: skip


_ACCESS: tuple[Operation, ...] = (
    Operation(
        "inf_hello", "Say which version serves, and which operations it has.", session=False,
        reads=True, ext=True,
        gives=(
            Key("VERSION", Kind.STR, "the daemon's version"),
            Key("PROTOCOL", Kind.UINT32, "the protocol's version"),
            Key("MAX_FRAME", Kind.UINT32, "the longest frame of a session, in bytes"),
            Key("OPERATIONS", Kind.MAP, "each operation's in keys, by its name"),
        ),
    ),
    Operation(
        "inf_access_request", "Open a session.", session=False,
        takes=(_USERNAME, Key("ACCTOK", Kind.STR, "the user's access token")),
        gives=(Key("STOK", Kind.STR, "the session token"),),
        codes=(c.INF_AUTHORIZATION_FAILED, c.INF_MAXIMUM_CLIENTS),
    ),
    Operation(
        "inf_destroy_session", "End this session and its contexts.",
        aliases=("inf_destroy_dession",),
    ),
    Operation(
        "inf_get_sessions", "List a user's sessions.", takes=(_USERNAME,), reads=True, ext=True,
        gives=(Key("SESSIONS", Kind.MAP_LIST, "one map a session"),), codes=_TARGET_CODES,
    ),
    Operation(
        "inf_end_sessions", "End all sessions of a user.", takes=(_USERNAME,), ext=True,
        gives=(Key("SESSIONS", Kind.UINT32, "how many were ended"),), codes=_TARGET_CODES,
    ),
    Operation(
        "inf_get_server_stats", "Tell what the daemon has done and holds.", reads=True, ext=True,
        gives=(
            Key("UPTIME", Kind.UINT32, "seconds since the start"),
            Key("CONNECTIONS", Kind.UINT32, "open connections"),
            Key("SESSIONS", Kind.UINT32, "live sessions"),
            Key("CONTEXTS", Kind.UINT32, "live contexts"),
            Key("RUNS", Kind.UINT32, "runs under way"),
            Key("REQUESTS", Kind.UINT32, "requests answered"),
            Key("TOKENS_IN", Kind.UINT32, "prompt tokens evaluated"),
            Key("TOKENS_OUT", Kind.UINT32, "tokens generated"),
            Key("MODELS", Kind.STR_LIST, "loaded models"),
            Key("CORES", Kind.UINT32, "cores that the scheduler hands out"),
            Key("USERS", Kind.MAP_LIST, "by user, for superusers: the counts, and PROCESSOR_MS",
                optional=True),
        ),
    ),
)  # fmt: skip

_MODELS: tuple[Operation, ...] = (
    Operation(
        "inf_get_accessible_models", "List the models that this user may use.", reads=True,
        gives=(Key("MODEL", Kind.STR_LIST, "their names"),),
    ),
    Operation(
        "inf_get_program_models", "List the registered models, loaded or not.", reads=True,
        gives=(Key("MODELS", Kind.STR_LIST, "their names"),),
    ),
    Operation(
        "inf_get_model_info", "Describe a model.", takes=(_MODEL,), reads=True, ext=True,
        codes=(c.INF_MODEL_NAME_MISMATCH, c.INF_UNABLE_TO_OPEN_MODEL_FILE),
        gives=(
            Key("FILE_SIZE", Kind.STR, "bytes, as a decimal string"),
            Key("PARAMETERS", Kind.STR, "parameters, as a decimal string", optional=True),
            Key("ARCHITECTURE", Kind.STR, "llama.cpp's name of it", optional=True),
            Key("TRAINING_CONTEXT", Kind.UINT32, "tokens", optional=True),
            Key("TEMPLATE", Kind.BOOL, "whether it has a chat template", optional=True),
            Key("LOADED", Kind.BOOL, "whether it can serve"),
            Key("PROGRESS", Kind.F32, "of loading, 0 to 1", optional=True),
            Key("BUDGET_USED", Kind.UINT32, "tokens of live contexts"),
            Key("BUDGET_FREE", Kind.UINT32, "tokens left for contexts"),
            Key("CONTEXTS", Kind.UINT32, "live contexts"),
        ),
    ),
    Operation(
        "inf_load_model", "Load a model, or change the budget of a loaded one.",
        takes=(
            _MODEL,
            Key("CTXSIZE", Kind.UINT32, "cumulative context budget, in tokens; at least 32"),
        ),
        flag="MODEL_LOAD_UNLOAD",
        codes=(
            c.INF_MODEL_NAME_MISMATCH, c.INF_NOT_ENOUGH_MEMORY, c.INF_UNABLE_TO_OPEN_MODEL_FILE,
        ),
    ),
    Operation(
        "inf_unload_model", "End a model's contexts and free its memory.", takes=(_MODEL,),
        flag="MODEL_LOAD_UNLOAD", codes=(c.INF_MODEL_NAME_MISMATCH,),
    ),
    Operation(
        "inf_tokenize", "Make text into tokens.", reads=True, ext=True,
        takes=(_MODEL, _opt("SPECIAL", Kind.BOOL, "whether control tokens are recognised")),
        data_in="the text", gives=(Key("TOKENS", Kind.UINT32_LIST, "token ids"),),
        codes=(c.INF_MODEL_NAME_MISMATCH, c.INF_MODEL_IS_NOT_ACCESSIBLE,
               c.EXEC_TOKENIZATION_FAILED),
    ),
    Operation(
        "inf_detokenize", "Make tokens into text.", reads=True, ext=True,
        takes=(_MODEL, Key("TOKENS", Kind.UINT32_LIST, "token ids")), data_out="the text",
        codes=(c.INF_MODEL_NAME_MISMATCH, c.INF_MODEL_IS_NOT_ACCESSIBLE,
               c.EXEC_TOKENIZATION_FAILED),
    ),
)  # fmt: skip

_CONTEXTS: tuple[Operation, ...] = (
    Operation(
        "inf_get_context_ids", "List this session's contexts.", reads=True,
        gives=(Key("CTXID", Kind.UINT32_LIST, "their ids"),),
    ),
    Operation(
        "inf_create_context", "Make a context on a loaded model.",
        takes=(_MODEL, Key("CTXSIZE", Kind.UINT32, "its size in tokens")),
        gives=(Key("CTXID", Kind.UINT32, "its id, counted from 1 in the session"),),
        codes=(
            c.INF_MODEL_IS_NOT_ACCESSIBLE, c.INF_INVALID_TOKEN_LIMIT, c.INF_MODEL_NAME_MISMATCH,
            c.INF_USER_CONTEXT_LENGTH_EXCEEDED, c.INF_MODEL_CONTEXT_FULL,
            c.INF_FAILED_TO_CREATE_CONTEXT, c.INF_CONTEXT_ID_MISMATCH,
        ),
    ),
    Operation(
        "inf_clear_context_history", "Abort what runs, and forget messages and state.",
        takes=(_CTXID,), codes=(*_ON_CONTEXT, c.INF_FAILED_TO_CREATE_CONTEXT),
    ),
    Operation(
        "inf_get_context_status", "Tell the state of a context, as the code.", takes=(_CTXID,),
        reads=True, codes=(*_ON_CONTEXT, c.INF_CONTEXT_HALTED),
        success=frozenset(
            {c.INF_CONTEXT_ACTIVE, c.INF_CONTEXT_INACTIVE, c.INF_CONTEXT_INITIALIZING}
        ),
        gives=(
            Key("MODEL", Kind.STR, "its model", ext=True),
            Key("CTXSIZE", Kind.UINT32, "its size in tokens", ext=True),
            Key("TOKENS_USED", Kind.UINT32, "tokens it holds", ext=True),
            Key("PROMPT_TOKENS", Kind.UINT32, "tokens of the prompt", optional=True, ext=True),
            Key("PROMPT_DONE", Kind.UINT32, "of them evaluated", optional=True, ext=True),
            Key("QUEUE_POSITION", Kind.UINT32, "1: next to be given cores; 0: not waiting",
                optional=True, ext=True),
            Key("ESTIMATE_MS", Kind.UINT32,
                "milliseconds until it is probably given cores; 0: not waiting",
                optional=True, ext=True),
        ),
    ),
    Operation(
        "inf_destroy_context", "Abort what runs, and free the context.", takes=(_CTXID,),
        codes=_ON_CONTEXT,
    ),
)  # fmt: skip

_USERS: tuple[Operation, ...] = (
    Operation(
        "inf_create_new_user", "Create a user.", flag="USER_CREATE_DELETE",
        takes=(
            Key("USERNAME", Kind.USERNAME, "the new user's name"),
            *_LIMITS,
            _AUTHFLAGS,
            _opt("ISSUPER", Kind.BIT, "1: a superuser (the integers 1 or 0)"),
            _opt("ISSTATIC", Kind.BIT, "1: changed by superusers only (the integers 1 or 0)"),
            _opt("ACCTOK", Kind.NEW_ACCTOK, "the access token; generated when absent"),
            *SAMPLING,
        ),
        gives=(Key("ACCTOK", Kind.STR, "the access token, shown this once"),),
        codes=(c.INF_AUTHORIZATION_FAILED, c.INF_USER_ALREADY_EXISTS),
        data_in="the user's system prompt",
    ),
    Operation(
        "inf_delete_user", "Delete a user and end its sessions.", takes=(_USERNAME, _CONFIRM),
        flag="USER_CREATE_DELETE", codes=(*_TARGET_CODES, c.INF_CANT_DELETE_SELF),
    ),
    _modify("model_access_limit", "Set how many models a user may have.", _ACCLIMIT,
            "USER_ACCESS_MODIFICATION"),
    _modify("maximum_context_length", "Set a user's largest context size.", _CTXLENGTH,
            "USER_CONTEXT_LENGTH_MODIFICATION"),
    _modify("batch_size", "Set how many prompt tokens one call may carry.", _BATCH_SET,
            "USER_BATCH_LENGTH_MODIFICATION"),
    _modify("processor_thread_count", "Set the threads of each of a user's contexts.", _THREADS,
            "USER_PROCESSOR_THREAD_COUNT_MODIFICATION"),
    _modify("max_processor_thread_count", "Set the threads of a user's contexts together.",
            _MAX_THREADS, "USER_MAX_PROCESSOR_THREAD_COUNT_MODIFICATION"),
    Operation(
        "inf_modify_user_system_prompt", "Set a user's system prompt; without data, none.",
        takes=(_USERNAME,), flag="USER_SYS_PROMPT_MODIFICATION", codes=_TARGET_CODES,
        data_in="the system prompt", ordered=True,
    ),
    Operation(
        "inf_modify_user_make_superuser", "Make a user a superuser.", takes=(_USERNAME, _CONFIRM),
        flag=SUPERUSER, codes=_TARGET_CODES,
    ),
    Operation(
        "inf_modify_user_unmake_superuser", "Make a superuser an ordinary user.",
        takes=(_USERNAME, _CONFIRM), flag=SUPERUSER, codes=_TARGET_CODES,
    ),
    Operation(
        "inf_modify_user_accept_models", "Set the models that a user may use.",
        takes=(
            _USERNAME,
            Key("MODEL", Kind.STR_LIST, "model names"),
            Key("MODE", Kind.STR, "replace (as without it), add or remove", optional=True,
                ext=True, choices=("replace", "add", "remove")),
        ),
        gives=(Key("MODEL", Kind.STR_LIST, "the list now in force", ext=True),),
        flag="USER_ACCESS_MODIFICATION", ordered=True,
        codes=(*_TARGET_CODES, c.INF_MODEL_NAME_MISMATCH),
    ),
    Operation(
        "inf_modify_user_set_authority_flags", "Replace a user's authority flags.",
        takes=(_USERNAME, _CONFIRM, _AUTHFLAGS), flag=SUPERUSER, codes=_TARGET_CODES,
        aliases=("inf_modify_inf_modify_user_set_authority_flags",),
    ),
    Operation(
        "inf_modify_user_sampling_set", "Replace a user's sampling set.",
        takes=(_USERNAME, *SAMPLING), flag="USER_SAMPLER_MODIFICATION", codes=_TARGET_CODES,
        ordered=True, ext=True,
    ),
    Operation(
        "inf_modify_user_access_token", "Change an access token; the other sessions end.",
        takes=(
            _USERNAME, _CONFIRM,
            _opt("NEW_ACCTOK", Kind.NEW_ACCTOK, "the new one; generated when absent"),
        ),
        gives=(Key("ACCTOK", Kind.STR, "the access token, shown this once"),),
        codes=_TARGET_CODES, ext=True,
    ),
    Operation(
        "inf_get_users", "List the users.", reads=True, ext=True,
        gives=(Key("USERNAME", Kind.STR_LIST, "their names"),),
        codes=(c.INF_AUTHORIZATION_FAILED,),
    ),
    Operation(
        "inf_get_user", "Show what is stored of a user, but for the token.", takes=(_USERNAME,),
        reads=True, ext=True, codes=_TARGET_CODES, data_out="the user's system prompt",
        gives=(
            _USERNAME, *_LIMITS, _AUTHFLAGS,
            Key("ISSUPER", Kind.UINT32, "1 or 0"),
            Key("ISSTATIC", Kind.UINT32, "1 or 0"),
            Key("MODEL", Kind.STR_LIST, "the models it may use"),
            *SAMPLING,
        ),
    ),
)  # fmt: skip

_EXECUTION: tuple[Operation, ...] = (
    Operation(
        "exec_set_input", "Store a message in a context.",
        takes=(
            _CTXID,
            Key("ROLE", Kind.STR, "system, user or assistant",
                choices=("system", "user", "assistant")),
        ),
        gives=(Key("MSGID", Kind.UINT32, "its id, counted from 1 in the context"),),
        codes=_ON_READY_CONTEXT, data_in="the message", data_required=True,
    ),
    Operation(
        "exec_execute_input", "Append messages to the history and start a run.",
        takes=(
            _CTXID,
            Key("MSGID", Kind.ID_LIST, "the messages, in order"),
            *(replace(key, ext=True) for key in SAMPLING),
            _opt("SEED", Kind.UINT32, "of the random draws; drawn when absent", ext=True),
            _opt("MAX_TOKENS", Kind.UINT32, "the longest reply, in tokens", ext=True),
            _opt("STOP", Kind.STR_LIST, "strings that end the reply", ext=True),
        ),
        success=_EXEC,
        codes=(
            *_ON_READY_CONTEXT, c.EXEC_ALREADY_PROCESSING, c.EXEC_MESSAGE_ID_MISMATCH,
            c.EXEC_TOKENIZATION_FAILED, c.EXEC_TOKEN_LIMIT_EXCEEDED, c.EXEC_PROCESS_HALTED,
        ),
    ),
    Operation(
        "exec_next", "Read the reply: what was generated since the last reading.",
        takes=(
            _CTXID,
            _opt("OFFSET", Kind.UINT32, "read again from this byte of the reply", ext=True),
            _opt("STREAM", Kind.BOOL, "answer again and again until the reply's end", ext=True),
        ),
        gives=(
            Key("IS_SPECIAL", Kind.BOOL, "true in the reply's last answer", optional=True),
            Key("OFFSET", Kind.UINT32, "bytes of the reply before this piece", ext=True),
            Key("FINISH_REASON", Kind.STR, "stop, length, stop_sequence, cancelled or orphaned",
                optional=True, ext=True),
            _opt("MSGID", Kind.UINT32, "the reply's message id", ext=True),
            _opt("SEED", Kind.UINT32, "of the random draws", ext=True),
            _opt("TOKENS_IN", Kind.UINT32, "tokens of the prompt", ext=True),
            _opt("TOKENS_CACHED", Kind.UINT32, "of them not computed again", ext=True),
            _opt("TOKENS_OUT", Kind.UINT32, "tokens generated", ext=True),
            _opt("PROMPT_MS", Kind.UINT32, "milliseconds spent on the prompt", ext=True),
            _opt("DECODE_MS", Kind.UINT32, "milliseconds spent generating", ext=True),
        ),
        success=_EXEC, data_out="a piece of the reply", streaming=True,
        codes=(*_ON_READY_CONTEXT, c.INF_CONTEXT_HALTED, c.EXEC_MISSING_MESSAGE),
    ),
    Operation(
        "exec_stop", "End the run; what was generated stays.",
        takes=(_CTXID, _opt("OFFSET", Kind.UINT32, "cut the reply at this byte", ext=True)),
        success=_EXEC, codes=_ON_READY_CONTEXT, ext=True,
    ),
    Operation(
        "exec_get_messages", "List the messages stored in a context.", takes=(_CTXID,),
        reads=True, success=_EXEC, codes=_ON_READY_CONTEXT, ext=True,
        gives=(
            Key("MSGID", Kind.UINT32_LIST, "message ids"),
            Key("ROLE", Kind.STR_LIST, "the role of each"),
            Key("IN_HISTORY", Kind.BOOL_LIST, "whether each is in the history"),
            Key("TEXT", Kind.STR_LIST, "the text of each"),
        ),
    ),
)  # fmt: skip

ROWS: tuple[Operation, ...] = (*_ACCESS, *_MODELS, *_CONTEXTS, *_USERS, *_EXECUTION)
