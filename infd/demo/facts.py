"""What the demo model knows about infd: questions in many wordings, and one answer each.

Rules: an answer is one short sentence, true of infd's contract. The wordings about codes and
about operations are divided once for all codes or operations, those of any other fact for it
alone, so each fact is asked in wordings that training never used for anything.
Limits: a tenth of infd's contract; options of commands are left to ``--help``.
"""

from __future__ import annotations

from dataclasses import dataclass

from infd.demo.grammar import Group, draw

CODES: dict[int, str] = {
    1002: "PKT_UNDEFINED_OPERATION",
    1007: "PKT_TIMED_OUT",
    1016: "PKT_TOO_LARGE",
    1021: "PKT_INVALID_FORMAT",
    1022: "PKT_OVERLOADED",
    1099: "PKT_INTERNAL_ERROR",
    2000: "INF_SUCCESS",
    2001: "INF_MAXIMUM_CLIENTS",
    2002: "INF_SESSION_TOKEN_MISMATCH",
    2004: "INF_MODEL_NAME_MISMATCH",
    2005: "INF_CONTEXT_ID_MISMATCH",
    2006: "INF_INVALID_TOKEN_LIMIT",
    2007: "INF_FAILED_TO_CREATE_CONTEXT",
    2008: "INF_AUTHORIZATION_FAILED",
    2009: "INF_CONTEXT_ACTIVE",
    2010: "INF_CONTEXT_INACTIVE",
    2012: "INF_CONTEXT_INITIALIZING",
    2013: "INF_CONTEXT_HALTED",
    2014: "INF_MODEL_IS_NOT_ACCESSIBLE",
    2015: "INF_USER_ALREADY_EXISTS",
    2016: "INF_INVALID_PARAMS",
    2017: "INF_CANT_DELETE_SELF",
    2019: "INF_MODEL_CONTEXT_FULL",
    2020: "INF_USER_CONTEXT_LENGTH_EXCEEDED",
    2021: "INF_USER_NOT_FOUND",
    2023: "INF_NOT_ENOUGH_MEMORY",
    2026: "INF_UNABLE_TO_OPEN_MODEL_FILE",
    3000: "EXEC_SUCCESS",
    3001: "EXEC_ALREADY_PROCESSING",
    3002: "EXEC_MESSAGE_ID_MISMATCH",
    3003: "EXEC_MISSING_MESSAGE",
    3004: "EXEC_TOKENIZATION_FAILED",
    3005: "EXEC_TOKEN_LIMIT_EXCEEDED",
    3009: "EXEC_PROCESS_HALTED",
}

# What an operation does: it <verb>s <object>. The second form is how a person asks for it.
OPERATIONS: dict[str, tuple[str, str]] = {
    "inf_access_request": ("opens a session", "open a session"),
    "inf_destroy_session": ("ends a session", "end a session"),
    "inf_get_accessible_models": ("lists the models you may use", "list the models i may use"),
    "inf_get_context_ids": ("lists your contexts", "list my contexts"),
    "inf_create_context": ("makes a context", "make a context"),
    "inf_clear_context_history": ("clears the history of a context", "clear a history"),
    "inf_get_context_status": ("tells the state of a context", "see the state of a context"),
    "inf_destroy_context": ("removes a context", "remove a context"),
    "inf_get_program_models": ("lists all models", "list all models"),
    "inf_load_model": ("loads a model", "load a model"),
    "inf_unload_model": ("unloads a model", "unload a model"),
    "inf_create_new_user": ("makes a user", "make a user"),
    "inf_delete_user": ("deletes a user", "delete a user"),
    "inf_modify_user_model_access_limit": (
        "sets how many models a user may have",
        "limit how many models a user may have",
    ),
    "inf_modify_user_maximum_context_length": (
        "sets the largest context of a user",
        "set the largest context of a user",
    ),
    "inf_modify_user_batch_size": ("sets the batch size of a user", "set a batch size"),
    "inf_modify_user_processor_thread_count": (
        "sets the threads of a user's contexts",
        "set the threads of a context",
    ),
    "inf_modify_user_max_processor_thread_count": (
        "sets the most threads a user may have",
        "set the most threads of a user",
    ),
    "inf_modify_user_system_prompt": (
        "sets the system prompt of a user",
        "set a system prompt",
    ),
    "inf_modify_user_make_superuser": ("makes a user a superuser", "make a superuser"),
    "inf_modify_user_unmake_superuser": (
        "makes a superuser a plain user",
        "unmake a superuser",
    ),
    "inf_modify_user_accept_models": (
        "sets which models a user may use",
        "set which models a user may use",
    ),
    "inf_modify_user_set_authority_flags": (
        "sets the authority flags of a user",
        "set authority flags",
    ),
    "exec_set_input": ("stores a message", "store a message"),
    "exec_execute_input": ("runs the messages", "run the messages"),
    "exec_next": ("gives the next text of the reply", "read the reply"),
}

HEAD = "[|so, |well, |okay, |now, |and |please |hey, ]"

# Other facts: the answer, then the questions, without head and tail.
OTHERS: dict[str, list[str]] = {
    "infd is a daemon that runs language models for many users.": [
        "[what is|what's|tell me about|explain|describe|what does] infd[| do| then]",
        "what [is|do you know about] [infd|the infd daemon|this daemon]",
    ],
    "infd listens on port 4633.": [
        "[which|what] port does infd [use|listen on|have]",
        "what is [the|infd's] [port|default port][| of infd]",
        "on [which|what] port does [infd|the daemon] listen",
    ],
    "infd listens on 127.0.0.1.": [
        "[which|what] address does [infd|the daemon] [use|listen on|have]",
        "what is [the|infd's] [address|default address][| of infd]",
    ],
    "infd has 26 operations and some further ones.": [
        "how many operations [does infd have|are there|are there in infd|does infd know]",
        "[what is|tell me] the number of [|infd's ]operations",
    ],
    "infd speaks msgpack in frames over TCP.": [
        "[which|what] [protocol|wire format|format] does [infd|the daemon] [use|speak|have]",
        "how does [infd|the daemon] [talk|speak] to [clients|its clients|a client]",
    ],
    "A frame is a length of 4 bytes and then msgpack.": [
        "what is [a frame|a packet|in a frame|in a packet|the form of a frame]",
        "how does a [frame|packet] look",
    ],
    "A frame may have 64 KiB before the login and 16 MiB after it.": [
        "how [large|big|long] may a [frame|packet] be",
        "what is the [largest|biggest|longest] [frame|packet]",
        "what is the [limit|size limit] of a [frame|packet]",
    ],
    "The smallest context has 32 tokens.": [
        "what is the [smallest|least|shortest] [context|context size|size of a context]",
        "how small [may|can] a context be",
    ],
    "A user may have 64 contexts.": [
        "how many contexts [may|can] [i|a user|one user] have",
        "what is the [limit|largest number] of contexts [of|for] a user",
    ],
    "A session ends 600 seconds after its connection is lost.": [
        "when does a session [end|time out|expire]",
        "how long does a session [last|live|stay]",
    ],
    "A token has 256 random bits.": [
        "how [long|big|random] is a [session token|token]",
        "how many bits [has|does] a [session token|token][| have]",
    ],
    "Access tokens are stored as scrypt hashes.": [
        "how are [access tokens|tokens|the tokens|passwords] [stored|kept|saved]",
        "which hash [is used|does infd use] for [access tokens|tokens]",
    ],
    "ISSUPER is 1 or 0.": [
        "what [is|values has|value has] ISSUPER",
        "which values [may|can|does] ISSUPER [have|take]",
    ],
    "STOK is the session token.": [
        "what [is|does] [STOK|the STOK][| mean]",
        "[what is|explain] the key STOK",
    ],
    "ACCTOK is the access token.": [
        "what [is|does] [ACCTOK|the ACCTOK][| mean]",
        "[what is|explain] the key ACCTOK",
    ],
    "CTXID is the number of a context.": [
        "what [is|does] [CTXID|the CTXID][| mean]",
        "[what is|explain] the key CTXID",
    ],
    "MSGID is the number of a message.": [
        "what [is|does] [MSGID|the MSGID][| mean]",
        "[what is|explain] the key MSGID",
    ],
    "BATCH_SET is the number of prompt tokens in one call.": [
        "what [is|does] [BATCH_SET|the BATCH_SET][| mean]",
        "[what is|explain] the key BATCH_SET",
    ],
    "CTXLENGTH is the largest context of a user.": [
        "what [is|does] [CTXLENGTH|the CTXLENGTH][| mean]",
        "[what is|explain] the key CTXLENGTH",
    ],
    "ACCLIMIT is how many models a user may have.": [
        "what [is|does] [ACCLIMIT|the ACCLIMIT][| mean]",
        "[what is|explain] the key ACCLIMIT",
    ],
    "Type infd serve.": [
        "how do i [start|run] [infd|the daemon|the server]",
        "[which|what] command [starts|runs] [infd|the daemon|the server]",
    ],
    "Type infd demo.": [
        "how do i [start|run|try|see] the demo",
        "[which|what] command [starts|runs|shows] the demo",
    ],
    "Type infd init.": [
        "how do i [make|create] [the first user|the first superuser|the state folder|the admin]",
        "[which|what] command [makes|creates] [the first user|the first superuser|"
        "the state folder|the admin]",
    ],
    "Type infd doctor.": [
        "how do i [check|test|examine] [my installation|the installation|the build]",
        "[which|what] command [checks|tests|examines] [my installation|the installation|the build]",
    ],
    "Type infd bench.": [
        "how do i measure [the speed|speed|infd|the daemon]",
        "[which|what] command measures [the speed|speed|infd|the daemon]",
    ],
    "Type infd version.": [
        "how do i see [the version|my version|which version i have]",
        "[which|what] command [shows|tells] [the version|my version|which version i have]",
    ],
    "Type infc.": [
        "how do i [start|run|open] the [client|repl]",
        "[which|what] command [starts|runs|opens] the [client|repl]",
    ],
    "Type infd-gateway.": [
        "how do i [start|run] the [gateway|HTTP gateway]",
        "[which|what] command [starts|runs] the [gateway|HTTP gateway]",
    ],
    "Type infd user token.": [
        "how do i [get|make] a new [token|access token]",
        "[which|what] command [gives|makes] a new [token|access token]",
        "i lost my [token|access token]",
    ],
    "infd reads GGUF files.": [
        "[which|what] [models|files|model files] does [infd|the daemon] [read|use|run|load]",
        "what is the [format|file format] of a model",
    ],
    "infd uses llama.cpp.": [
        "[which|what] [engine|library] does [infd|the daemon] [use|run|have]",
        "what [runs|computes] the models[| in infd]",
    ],
    "The configuration file is infd.toml.": [
        "[what is|which is|where is|how is] the [configuration|config] file[| called| of infd]",
        "how do i [configure|set up] [infd|the daemon]",
    ],
    "The roles are system, user and assistant.": [
        "[which|what] roles [are there|does a message have|may a message have|has a message]",
        "what [are|is] the [roles|role] of a message",
    ],
    "The import is infd_client.": [
        "how do i use infd [from|in] python",
        "[which|what] python [library|module|package] [is there|do i import|do i need]",
    ],
    "Use exec_stop.": [
        "how [do|can] i [stop|end|cancel] [a reply|the reply|a run|the generation]",
        "[which|what] operation [stops|ends|cancels] [a reply|the reply|a run|the generation]",
    ],
    "Use inf_get_users.": [
        "how [do|can] i [list|see] [the users|all users]",
        "[which|what] operation [lists|shows] [the users|all users]",
    ],
    "A superuser holds every flag and reaches every model.": [
        "what [is|can|may] a superuser[| do]",
        "[explain|describe|tell me about] superusers",
    ],
    "Only a superuser changes a static user.": [
        "what is a static user",
        "who [can|may] change a static user",
    ],
    "CTXSIZE is the size of a context, or the budget of a model.": [
        "what [is|does] [CTXSIZE|the CTXSIZE][| mean]",
        "[what is|explain] the key CTXSIZE",
    ],
    "infd has the licence Apache-2.0.": [
        "[which|what] [licence|license] does infd have",
        "what is [the|infd's] [licence|license][| of infd]",
    ],
}


@dataclass(frozen=True)
class Fact:
    """One fact: its wordings and its answer."""

    group: Group
    answer: str


def _code(number: int, name: str) -> list[Fact]:
    by_number = [
        f"{HEAD}[what is|what's|explain|what means] [|code |response code |error |the code |"
        "error code ]{n}[?| please?]",
        f"{HEAD}what does [|code |response code |error |the code ]{{n}} mean[?| please?| in infd?]",
        f"{HEAD}[which|what] code [is|has the number] {{n}}[?| please?| in infd?]",
        f"{HEAD}[what is|tell me|what's] the name of [|code |the code ]{{n}}[?| please?]",
    ]
    by_name = [
        f"{HEAD}[what is|what's|tell me] the [number|code|code number] [of|for] {{n}}[?| please?]",
        f"{HEAD}[which|what] [number|code] [is|has|belongs to] {{n}}[?| please?| in infd?]",
        f"{HEAD}[which|what] [number|code] does {{n}} have[?| please?| in infd?]",
    ]
    return [
        Fact(_fill("code by number", by_number, str(number)), f"{number} is {name}."),
        Fact(_fill("code by name", by_name, name), f"{name} is {number}."),
    ]


def _operation(name: str, does: str, want: str) -> list[Fact]:
    by_name = [
        f"{HEAD}what does [|the operation |operation ]{{n}} do[?| please?| in infd?]",
        f"{HEAD}[what is|what's|explain|describe] [|the operation |operation ]{{n}}[?| for?]",
        f"{HEAD}what [is|do i use] [|the operation |operation ]{{n}} for[?| in infd?]",
    ]
    by_want = [
        f"{HEAD}how do i {{n}}[?| please?| in infd?| with infd?]",
        f"{HEAD}how [can|could] i {{n}}[?| in infd?| with infd?]",
        f"{HEAD}[which|what] operation [do i use to|do i need to|is there to|lets me] {{n}}"
        "[?| please?]",
        f"{HEAD}i want to {{n}}[.|, which operation do i use?|, how do i do it?]",
    ]
    return [
        Fact(_fill("operation by name", by_name, name), f"It {does}."),
        Fact(_fill("operation by purpose", by_want, want), f"Use {name}."),
    ]


def _fill(name: str, patterns: list[str], value: str) -> Group:
    """Divide the wordings with the slot, then put the value into the slot."""
    group = draw(f"fact {name}", patterns)
    train = tuple(line.replace("{n}", value) for line in group.train)
    return Group(train, tuple(line.replace("{n}", value) for line in group.held))


def facts() -> list[Fact]:
    """Every fact, in a fixed order."""
    out = [fact for number, name in CODES.items() for fact in _code(number, name)]
    for name, (does, want) in OPERATIONS.items():
        out += _operation(name, does, want)
    for number, (answer, questions) in enumerate(OTHERS.items()):
        asked = [f"{HEAD}{question}[?| please?]" for question in questions]
        out.append(Fact(draw(f"fact {number}", asked), answer))
    return out
