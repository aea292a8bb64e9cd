"""The protocol's first document, transcribed: its 26 operations, misspelled names included.

A row: in keys, out keys, response codes, whether `#in_data`, whether `#out_data`.
"""

from __future__ import annotations

Row = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], bool, bool]

SEED: dict[str, Row] = {
    "inf_access_request": (
        ("USERNAME <str>", "ACCTOK <str>"),
        ("STOK <str>",),
        ("INF_SUCCESS", "INF_AUTHORIZATION_FAILED"),
        False, False,
    ),
    "inf_destroy_dession": (
        ("STOK <str>",),
        (),
        ("INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH"),
        False, False,
    ),
    "inf_get_accessible_models": (
        ("STOK <str>",),
        ("MODEL <list<str>>",),
        ("INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH"),
        False, False,
    ),
    "inf_get_context_ids": (
        ("STOK <str>",),
        ("CTXID <list<uint32>>",),
        ("INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH"),
        False, False,
    ),
    "inf_create_context": (
        ("STOK <str>", "MODEL <str>", "CTXSIZE <uint32>"),
        ("CTXID <uint32>",),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_MODEL_IS_NOT_ACCESSIBLE",
            "INF_INVALID_TOKEN_LIMIT", "INF_MODEL_NAME_MISMATCH",
            "INF_USER_CONTEXT_LENGTH_EXCEEDED", "INF_MODEL_CONTEXT_FULL",
            "INF_FAILED_TO_CREATE_CONTEXT",
        ),
        False, False,
    ),
    "inf_clear_context_history": (
        ("STOK <str>", "CTXID <uint32>"),
        (),
        ("INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH"),
        False, False,
    ),
    "inf_get_context_status": (
        ("STOK <str>", "CTXID <uint32>"),
        (),
        (
            "INF_SESSION_TOKEN_MISMATCH", "INF_CONTEXT_ID_MISMATCH", "INF_CONTEXT_INITIALIZING",
            "INF_CONTEXT_INACTIVE", "INF_CONTEXT_ACTIVE",
        ),
        False, False,
    ),
    "inf_destroy_context": (
        ("STOK <str>", "CTXID <uint32>"),
        (),
        ("INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_CONTEXT_ID_MISMATCH"),
        False, False,
    ),
    "inf_get_program_models": (
        ("STOK <str>",),
        ("MODELS <list<str>>",),
        ("INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH"),
        False, False,
    ),
    "inf_load_model": (
        ("STOK <str>", "MODEL <str>", "CTXSIZE <uint32>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_INVALID_PARAMS", "INF_MODEL_NAME_MISMATCH",
        ),
        False, False,
    ),
    "inf_unload_model": (
        ("STOK <str>", "MODEL <str>"),
        (),
        ("INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED"),
        False, False,
    ),
    "inf_create_new_user": (
        (
            "STOK <str>", "USERNAME <str>", "ACCLIMIT <uint32>", "CTXLENGTH <uint32>",
            "BATCH_SET <uint32>", "MAX_PROC_THREADS <uint32>", "PROC_THREADS <uint32>",
            "AUTHFLAGS <list<str>>", "ISSUPER ? <bool>", "ISSTATIC ? <bool>", "ACCTOK ? <str>",
            "TOP_K ? <uint32>", "TOP_P ? <f32>", "MIN_P ? <f32>", "TYPICAL_P ? <f32>",
            "TEMP ? <f32>", "REPEAT_N ? <uint32>", "REPEAT_PENALTY ? <f32>",
            "REPEAT_PRESENT ? <f32>", "REPEAT_FREQUENCY ? <f32>", "REPEAT_LF ? <bool>",
            "REPEAT_EOT ? <bool>", "MIROSTAT_V2_TAU ? <f32>", "MIROSTAT_V2_ETA ? <f32>",
        ),
        ("ACCTOK <str>",),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_INVALID_PARAMS",
            "INF_AUTHORIZATION_FAILED", "INF_USER_ALREADY_EXISTS",
        ),
        True, False,
    ),
    "inf_delete_user": (
        ("STOK <str>", "USERNAME <str>", "ACCTOK <str>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_INVALID_PARAMS", "INF_CANT_DELETE_SELF", "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_model_access_limit": (
        ("STOK <str>", "USERNAME <str>", "ACCLIMIT <uint32>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_maximum_context_length": (
        ("STOK <str>", "USERNAME <str>", "CTXLENGTH <uint32>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_batch_size": (
        ("STOK <str>", "USERNAME <str>", "BATCH_SET <uint32>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_processor_thread_count": (
        ("STOK <str>", "USERNAME <str>", "PROC_THREADS <uint32>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_max_processor_thread_count": (
        ("STOK <str>", "USERNAME <str>", "MAX_PROC_THREADS <uint32>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_system_prompt": (
        ("STOK <str>", "USERNAME <str>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        True, False,
    ),
    "inf_modify_user_make_superuser": (
        ("STOK <str>", "USERNAME <str>", "ACCTOK <str>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_unmake_superuser": (
        ("STOK <str>", "USERNAME <str>", "ACCTOK <str>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "inf_modify_user_accept_models": (
        ("STOK <str>", "USERNAME <str>", "MODEL <list<str>>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND", "INF_MODEL_NAME_MISMATCH",
        ),
        False, False,
    ),
    "inf_modify_inf_modify_user_set_authority_flags": (
        ("STOK <str>", "USERNAME <str>", "ACCTOK <str>", "AUTHFLAGS <list<str>>"),
        (),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_AUTHORIZATION_FAILED",
            "INF_USER_NOT_FOUND",
        ),
        False, False,
    ),
    "exec_set_input": (
        ("STOK <str>", "CTXID <str>", "ROLE <str>"),
        ("MSGID <uint32>",),
        (
            "INF_SUCCESS", "INF_SESSION_TOKEN_MISMATCH", "INF_CONTEXT_ID_MISMATCH",
            "INF_INVALID_PARAMS",
        ),
        True, False,
    ),
    "exec_execute_input": (
        ("STOK <str>", "CTXID <str>", "MSGID <list<str>>"),
        (),
        (
            "INF_SESSION_TOKEN_MISMATCH", "INF_CONTEXT_ID_MISMATCH", "EXEC_SUCCESS",
            "EXEC_MESSAGE_ID_MISMATCH", "EXEC_TOKENIZATION_FAILED", "EXEC_TOKEN_LIMIT_EXCEEDED",
            "EXEC_PROCESS_HALTED",
        ),
        False, False,
    ),
    "exec_next": (
        ("STOK <str>", "CTXID <str>"),
        ("IS_SPECIAL ? <bool>",),
        (
            "INF_SESSION_TOKEN_MISMATCH", "INF_CONTEXT_ID_MISMATCH", "INF_CONTEXT_HALTED",
            "EXEC_MISSING_MESSAGE", "EXEC_SUCCESS",
        ),
        False, True,
    ),
}  # fmt: skip
