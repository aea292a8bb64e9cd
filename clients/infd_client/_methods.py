"""The methods of both clients.

Made by `python -m infd_client.generate` from the operations table; changes here are lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from infd_client._results import (
    ExecExecuteInputResult,
    ExecGetMessagesResult,
    ExecNextResult,
    ExecSetInputResult,
    ExecStopResult,
    InfAccessRequestResult,
    InfClearContextHistoryResult,
    InfCreateContextResult,
    InfCreateNewUserResult,
    InfDeleteUserResult,
    InfDestroyContextResult,
    InfDestroySessionResult,
    InfDetokenizeResult,
    InfEndSessionsResult,
    InfGetAccessibleModelsResult,
    InfGetContextIdsResult,
    InfGetContextStatusResult,
    InfGetModelInfoResult,
    InfGetProgramModelsResult,
    InfGetServerStatsResult,
    InfGetSessionsResult,
    InfGetUserResult,
    InfGetUsersResult,
    InfHelloResult,
    InfLoadModelResult,
    InfModifyUserAcceptModelsResult,
    InfModifyUserAccessTokenResult,
    InfModifyUserBatchSizeResult,
    InfModifyUserMakeSuperuserResult,
    InfModifyUserMaximumContextLengthResult,
    InfModifyUserMaxProcessorThreadCountResult,
    InfModifyUserModelAccessLimitResult,
    InfModifyUserProcessorThreadCountResult,
    InfModifyUserSamplingSetResult,
    InfModifyUserSetAuthorityFlagsResult,
    InfModifyUserSystemPromptResult,
    InfModifyUserUnmakeSuperuserResult,
    InfTokenizeResult,
    InfUnloadModelResult,
)
from infd_client.options import UNSET, Timeout, bit
from infd_client.results import Result
from infd_protocol.operations import OPERATIONS as _ROWS
from infd_protocol.operations import Operation

R = TypeVar("R", bound=Result)


class BlockingMethods(ABC):
    """A blocking method for every operation."""

    __slots__ = ()

    @abstractmethod
    def _call(
        self,
        row: Operation | str,
        keys: Mapping[str, Any],
        data: str | None,
        timeout: Timeout,
        result: type[R],
    ) -> R:
        """Make the call and give its answer as a `result`."""

    @abstractmethod
    def _next(
        self, row: Operation, keys: Mapping[str, Any], timeout: Timeout, result: type[R]
    ) -> R:
        """As `_call`, for exec_next: the position in the reply is filled in."""

    def inf_hello(
        self,
        *,
        timeout: Timeout = UNSET,
    ) -> InfHelloResult:
        """Say which version serves, and which operations it has.

        Returns: `version`, `protocol`, `max_frame`, `operations`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfInvalidParams (2016).
        """
        return self._call(_ROWS["inf_hello"], {}, None, timeout, InfHelloResult)

    def inf_access_request(
        self,
        *,
        username: str,
        acctok: str,
        timeout: Timeout = UNSET,
    ) -> InfAccessRequestResult:
        """Open a session.

        username: the user's name.
        acctok: the user's access token.

        Returns: `stok`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfMaximumClients (2001),
            InfAuthorizationFailed (2008), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_access_request"],
            {"USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfAccessRequestResult,
        )

    def inf_destroy_session(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDestroySessionResult:
        """End this session and its contexts.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_destroy_session"],
            {"STOK": stok},
            None,
            timeout,
            InfDestroySessionResult,
        )

    def inf_get_sessions(
        self,
        *,
        username: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetSessionsResult:
        """List a user's sessions.

        username: the user's name.

        Returns: `sessions`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_get_sessions"],
            {"STOK": stok, "USERNAME": username},
            None,
            timeout,
            InfGetSessionsResult,
        )

    def inf_end_sessions(
        self,
        *,
        username: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfEndSessionsResult:
        """End all sessions of a user.

        username: the user's name.

        Returns: `sessions`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_end_sessions"],
            {"STOK": stok, "USERNAME": username},
            None,
            timeout,
            InfEndSessionsResult,
        )

    def inf_get_server_stats(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetServerStatsResult:
        """Tell what the daemon has done and holds.

        Returns: `uptime`, `connections`, `sessions`, `contexts`, `runs`, `requests`, `tokens_in`,
            `tokens_out`, `models`, `cores`, `users`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_get_server_stats"],
            {"STOK": stok},
            None,
            timeout,
            InfGetServerStatsResult,
        )

    def inf_get_accessible_models(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetAccessibleModelsResult:
        """List the models that this user may use.

        Returns: `model`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_get_accessible_models"],
            {"STOK": stok},
            None,
            timeout,
            InfGetAccessibleModelsResult,
        )

    def inf_get_program_models(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetProgramModelsResult:
        """List the registered models, loaded or not.

        Returns: `models`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_get_program_models"],
            {"STOK": stok},
            None,
            timeout,
            InfGetProgramModelsResult,
        )

    def inf_get_model_info(
        self,
        *,
        model: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetModelInfoResult:
        """Describe a model.

        model: the model's name.

        Returns: `file_size`, `parameters`, `architecture`, `training_context`, `template`,
            `loaded`, `progress`, `budget_used`, `budget_free`, `contexts`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfInvalidParams (2016), InfUnableToOpenModelFile (2026).
        """
        return self._call(
            _ROWS["inf_get_model_info"],
            {"STOK": stok, "MODEL": model},
            None,
            timeout,
            InfGetModelInfoResult,
        )

    def inf_load_model(
        self,
        *,
        model: str,
        ctxsize: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfLoadModelResult:
        """Load a model, or change the budget of a loaded one.

        model: the model's name.
        ctxsize: cumulative context budget, in tokens; at least 32.

        Needs: the authority flag MODEL_LOAD_UNLOAD.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfAuthorizationFailed (2008), InfInvalidParams (2016),
            InfNotEnoughMemory (2023), InfUnableToOpenModelFile (2026).
        """
        return self._call(
            _ROWS["inf_load_model"],
            {"STOK": stok, "MODEL": model, "CTXSIZE": ctxsize},
            None,
            timeout,
            InfLoadModelResult,
        )

    def inf_unload_model(
        self,
        *,
        model: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfUnloadModelResult:
        """End a model's contexts and free its memory.

        model: the model's name.

        Needs: the authority flag MODEL_LOAD_UNLOAD.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfAuthorizationFailed (2008), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_unload_model"],
            {"STOK": stok, "MODEL": model},
            None,
            timeout,
            InfUnloadModelResult,
        )

    def inf_tokenize(
        self,
        *,
        model: str,
        special: bool | None = None,
        data: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfTokenizeResult:
        """Make text into tokens.

        model: the model's name.
        special: whether control tokens are recognised (optional).
        data: the text (optional).

        Returns: `tokens`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfModelIsNotAccessible (2014), InfInvalidParams (2016),
            ExecTokenizationFailed (3004).
        """
        return self._call(
            _ROWS["inf_tokenize"],
            {"STOK": stok, "MODEL": model, "SPECIAL": special},
            data,
            timeout,
            InfTokenizeResult,
        )

    def inf_detokenize(
        self,
        *,
        model: str,
        tokens: Sequence[int],
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDetokenizeResult:
        """Make tokens into text.

        model: the model's name.
        tokens: token ids.

        Returns: `data`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfModelIsNotAccessible (2014), InfInvalidParams (2016),
            ExecTokenizationFailed (3004).
        """
        return self._call(
            _ROWS["inf_detokenize"],
            {"STOK": stok, "MODEL": model, "TOKENS": tokens},
            None,
            timeout,
            InfDetokenizeResult,
        )

    def inf_get_context_ids(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetContextIdsResult:
        """List this session's contexts.

        Returns: `ctxid`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_get_context_ids"],
            {"STOK": stok},
            None,
            timeout,
            InfGetContextIdsResult,
        )

    def inf_create_context(
        self,
        *,
        model: str,
        ctxsize: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfCreateContextResult:
        """Make a context on a loaded model.

        model: the model's name.
        ctxsize: its size in tokens.

        Returns: `ctxid`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfContextIdMismatch (2005), InfInvalidTokenLimit (2006),
            InfFailedToCreateContext (2007), InfModelIsNotAccessible (2014), InfInvalidParams
            (2016), InfModelContextFull (2019), InfUserContextLengthExceeded (2020).
        """
        return self._call(
            _ROWS["inf_create_context"],
            {"STOK": stok, "MODEL": model, "CTXSIZE": ctxsize},
            None,
            timeout,
            InfCreateContextResult,
        )

    def inf_clear_context_history(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfClearContextHistoryResult:
        """Abort what runs, and forget messages and state.

        ctxid: the context's id.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfFailedToCreateContext (2007), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_clear_context_history"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            InfClearContextHistoryResult,
        )

    def inf_get_context_status(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetContextStatusResult:
        """Tell the state of a context, as the code.

        ctxid: the context's id.

        Returns: `code` (INF_CONTEXT_ACTIVE, INF_CONTEXT_INACTIVE, INF_CONTEXT_INITIALIZING),
            `model`, `ctxsize`, `tokens_used`, `prompt_tokens`, `prompt_done`, `queue_position`,
            `estimate_ms`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextHalted (2013), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_get_context_status"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            InfGetContextStatusResult,
        )

    def inf_destroy_context(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDestroyContextResult:
        """Abort what runs, and free the context.

        ctxid: the context's id.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["inf_destroy_context"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            InfDestroyContextResult,
        )

    def inf_create_new_user(
        self,
        *,
        username: str,
        acclimit: int,
        ctxlength: int,
        batch_set: int,
        max_proc_threads: int,
        proc_threads: int,
        authflags: Sequence[str],
        issuper: bool | int | None = None,
        isstatic: bool | int | None = None,
        acctok: str | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
        temp: float | None = None,
        repeat_n: int | None = None,
        repeat_penalty: float | None = None,
        repeat_present: float | None = None,
        repeat_frequency: float | None = None,
        repeat_lf: bool | None = None,
        repeat_eot: bool | None = None,
        mirostat_v2_tau: float | None = None,
        mirostat_v2_eta: float | None = None,
        data: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfCreateNewUserResult:
        """Create a user.

        username: the new user's name.
        acclimit: how many distinct models the user may have; 0: none.
        ctxlength: the largest CTXSIZE of one context, in tokens; 0: no contexts at all.
        batch_set: prompt tokens that one call may carry; 0: 512.
        max_proc_threads: threads of all the user's contexts together; 0: 1.
        proc_threads: threads of each of the user's contexts; 0: 1.
        authflags: authority flags by name.
        issuper: 1: a superuser (the integers 1 or 0) (optional).
        isstatic: 1: changed by superusers only (the integers 1 or 0) (optional).
        acctok: the access token; generated when absent (optional).
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
        data: the user's system prompt (optional).

        Returns: `acctok`.

        Needs: the authority flag USER_CREATE_DELETE.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfUserAlreadyExists (2015), InfInvalidParams (2016).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "ACCLIMIT": acclimit,
            "CTXLENGTH": ctxlength,
            "BATCH_SET": batch_set,
            "MAX_PROC_THREADS": max_proc_threads,
            "PROC_THREADS": proc_threads,
            "AUTHFLAGS": authflags,
            "ISSUPER": bit(issuper),
            "ISSTATIC": bit(isstatic),
            "ACCTOK": acctok,
            "TOP_K": top_k,
            "TOP_P": top_p,
            "MIN_P": min_p,
            "TYPICAL_P": typical_p,
            "TEMP": temp,
            "REPEAT_N": repeat_n,
            "REPEAT_PENALTY": repeat_penalty,
            "REPEAT_PRESENT": repeat_present,
            "REPEAT_FREQUENCY": repeat_frequency,
            "REPEAT_LF": repeat_lf,
            "REPEAT_EOT": repeat_eot,
            "MIROSTAT_V2_TAU": mirostat_v2_tau,
            "MIROSTAT_V2_ETA": mirostat_v2_eta,
        }
        return self._call(_ROWS["inf_create_new_user"], keys, data, timeout, InfCreateNewUserResult)

    def inf_delete_user(
        self,
        *,
        username: str,
        acctok: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDeleteUserResult:
        """Delete a user and end its sessions.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.

        Needs: the authority flag USER_CREATE_DELETE.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfCantDeleteSelf (2017),
            InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_delete_user"],
            {"STOK": stok, "USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfDeleteUserResult,
        )

    def inf_modify_user_model_access_limit(
        self,
        *,
        username: str,
        acclimit: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserModelAccessLimitResult:
        """Set how many models a user may have.

        username: the user's name.
        acclimit: how many distinct models the user may have; 0: none.

        Needs: the authority flag USER_ACCESS_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_model_access_limit"],
            {"STOK": stok, "USERNAME": username, "ACCLIMIT": acclimit},
            None,
            timeout,
            InfModifyUserModelAccessLimitResult,
        )

    def inf_modify_user_maximum_context_length(
        self,
        *,
        username: str,
        ctxlength: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserMaximumContextLengthResult:
        """Set a user's largest context size.

        username: the user's name.
        ctxlength: the largest CTXSIZE of one context, in tokens; 0: no contexts at all.

        Needs: the authority flag USER_CONTEXT_LENGTH_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_maximum_context_length"],
            {"STOK": stok, "USERNAME": username, "CTXLENGTH": ctxlength},
            None,
            timeout,
            InfModifyUserMaximumContextLengthResult,
        )

    def inf_modify_user_batch_size(
        self,
        *,
        username: str,
        batch_set: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserBatchSizeResult:
        """Set how many prompt tokens one call may carry.

        username: the user's name.
        batch_set: prompt tokens that one call may carry; 0: 512.

        Needs: the authority flag USER_BATCH_LENGTH_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_batch_size"],
            {"STOK": stok, "USERNAME": username, "BATCH_SET": batch_set},
            None,
            timeout,
            InfModifyUserBatchSizeResult,
        )

    def inf_modify_user_processor_thread_count(
        self,
        *,
        username: str,
        proc_threads: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserProcessorThreadCountResult:
        """Set the threads of each of a user's contexts.

        username: the user's name.
        proc_threads: threads of each of the user's contexts; 0: 1.

        Needs: the authority flag USER_PROCESSOR_THREAD_COUNT_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_processor_thread_count"],
            {"STOK": stok, "USERNAME": username, "PROC_THREADS": proc_threads},
            None,
            timeout,
            InfModifyUserProcessorThreadCountResult,
        )

    def inf_modify_user_max_processor_thread_count(
        self,
        *,
        username: str,
        max_proc_threads: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserMaxProcessorThreadCountResult:
        """Set the threads of a user's contexts together.

        username: the user's name.
        max_proc_threads: threads of all the user's contexts together; 0: 1.

        Needs: the authority flag USER_MAX_PROCESSOR_THREAD_COUNT_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "MAX_PROC_THREADS": max_proc_threads,
        }
        return self._call(
            _ROWS["inf_modify_user_max_processor_thread_count"],
            keys,
            None,
            timeout,
            InfModifyUserMaxProcessorThreadCountResult,
        )

    def inf_modify_user_system_prompt(
        self,
        *,
        username: str,
        data: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserSystemPromptResult:
        """Set a user's system prompt; without data, none.

        username: the user's name.
        data: the system prompt (optional).

        Needs: the authority flag USER_SYS_PROMPT_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_system_prompt"],
            {"STOK": stok, "USERNAME": username},
            data,
            timeout,
            InfModifyUserSystemPromptResult,
        )

    def inf_modify_user_make_superuser(
        self,
        *,
        username: str,
        acctok: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserMakeSuperuserResult:
        """Make a user a superuser.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.

        Needs: a superuser.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_make_superuser"],
            {"STOK": stok, "USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfModifyUserMakeSuperuserResult,
        )

    def inf_modify_user_unmake_superuser(
        self,
        *,
        username: str,
        acctok: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserUnmakeSuperuserResult:
        """Make a superuser an ordinary user.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.

        Needs: a superuser.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_unmake_superuser"],
            {"STOK": stok, "USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfModifyUserUnmakeSuperuserResult,
        )

    def inf_modify_user_accept_models(
        self,
        *,
        username: str,
        model: Sequence[str],
        mode: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserAcceptModelsResult:
        """Set the models that a user may use.

        username: the user's name.
        model: model names.
        mode: replace (as without it), add or remove (optional).

        Returns: `model`.

        Needs: the authority flag USER_ACCESS_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfAuthorizationFailed (2008), InfInvalidParams (2016),
            InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_modify_user_accept_models"],
            {"STOK": stok, "USERNAME": username, "MODEL": model, "MODE": mode},
            None,
            timeout,
            InfModifyUserAcceptModelsResult,
        )

    def inf_modify_user_set_authority_flags(
        self,
        *,
        username: str,
        acctok: str,
        authflags: Sequence[str],
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserSetAuthorityFlagsResult:
        """Replace a user's authority flags.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.
        authflags: authority flags by name.

        Needs: a superuser.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "ACCTOK": acctok,
            "AUTHFLAGS": authflags,
        }
        return self._call(
            _ROWS["inf_modify_user_set_authority_flags"],
            keys,
            None,
            timeout,
            InfModifyUserSetAuthorityFlagsResult,
        )

    def inf_modify_user_sampling_set(
        self,
        *,
        username: str,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
        temp: float | None = None,
        repeat_n: int | None = None,
        repeat_penalty: float | None = None,
        repeat_present: float | None = None,
        repeat_frequency: float | None = None,
        repeat_lf: bool | None = None,
        repeat_eot: bool | None = None,
        mirostat_v2_tau: float | None = None,
        mirostat_v2_eta: float | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserSamplingSetResult:
        """Replace a user's sampling set.

        username: the user's name.
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

        Needs: the authority flag USER_SAMPLER_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "TOP_K": top_k,
            "TOP_P": top_p,
            "MIN_P": min_p,
            "TYPICAL_P": typical_p,
            "TEMP": temp,
            "REPEAT_N": repeat_n,
            "REPEAT_PENALTY": repeat_penalty,
            "REPEAT_PRESENT": repeat_present,
            "REPEAT_FREQUENCY": repeat_frequency,
            "REPEAT_LF": repeat_lf,
            "REPEAT_EOT": repeat_eot,
            "MIROSTAT_V2_TAU": mirostat_v2_tau,
            "MIROSTAT_V2_ETA": mirostat_v2_eta,
        }
        return self._call(
            _ROWS["inf_modify_user_sampling_set"],
            keys,
            None,
            timeout,
            InfModifyUserSamplingSetResult,
        )

    def inf_modify_user_access_token(
        self,
        *,
        username: str,
        acctok: str,
        new_acctok: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserAccessTokenResult:
        """Change an access token; the other sessions end.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.
        new_acctok: the new one; generated when absent (optional).

        Returns: `acctok`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "ACCTOK": acctok,
            "NEW_ACCTOK": new_acctok,
        }
        return self._call(
            _ROWS["inf_modify_user_access_token"],
            keys,
            None,
            timeout,
            InfModifyUserAccessTokenResult,
        )

    def inf_get_users(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetUsersResult:
        """List the users.

        Returns: `username`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016).
        """
        return self._call(_ROWS["inf_get_users"], {"STOK": stok}, None, timeout, InfGetUsersResult)

    def inf_get_user(
        self,
        *,
        username: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetUserResult:
        """Show what is stored of a user, but for the token.

        username: the user's name.

        Returns: `username`, `acclimit`, `ctxlength`, `batch_set`, `max_proc_threads`,
            `proc_threads`, `authflags`, `issuper`, `isstatic`, `model`, `top_k`, `top_p`, `min_p`,
            `typical_p`, `temp`, `repeat_n`, `repeat_penalty`, `repeat_present`, `repeat_frequency`,
            `repeat_lf`, `repeat_eot`, `mirostat_v2_tau`, `mirostat_v2_eta`, `data`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return self._call(
            _ROWS["inf_get_user"],
            {"STOK": stok, "USERNAME": username},
            None,
            timeout,
            InfGetUserResult,
        )

    def exec_set_input(
        self,
        *,
        ctxid: int | str,
        role: str,
        data: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecSetInputResult:
        """Store a message in a context.

        ctxid: the context's id.
        role: system, user or assistant.
        data: the message.

        Returns: `msgid`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["exec_set_input"],
            {"STOK": stok, "CTXID": ctxid, "ROLE": role},
            data,
            timeout,
            ExecSetInputResult,
        )

    def exec_execute_input(
        self,
        *,
        ctxid: int | str,
        msgid: Sequence[int | str],
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
        temp: float | None = None,
        repeat_n: int | None = None,
        repeat_penalty: float | None = None,
        repeat_present: float | None = None,
        repeat_frequency: float | None = None,
        repeat_lf: bool | None = None,
        repeat_eot: bool | None = None,
        mirostat_v2_tau: float | None = None,
        mirostat_v2_eta: float | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecExecuteInputResult:
        """Append messages to the history and start a run.

        ctxid: the context's id.
        msgid: the messages, in order.
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
        seed: of the random draws; drawn when absent (optional).
        max_tokens: the longest reply, in tokens (optional).
        stop: strings that end the reply (optional).

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016),
            ExecAlreadyProcessing (3001), ExecMessageIdMismatch (3002), ExecTokenizationFailed
            (3004), ExecTokenLimitExceeded (3005), ExecProcessHalted (3009).
        """
        keys = {
            "STOK": stok,
            "CTXID": ctxid,
            "MSGID": msgid,
            "TOP_K": top_k,
            "TOP_P": top_p,
            "MIN_P": min_p,
            "TYPICAL_P": typical_p,
            "TEMP": temp,
            "REPEAT_N": repeat_n,
            "REPEAT_PENALTY": repeat_penalty,
            "REPEAT_PRESENT": repeat_present,
            "REPEAT_FREQUENCY": repeat_frequency,
            "REPEAT_LF": repeat_lf,
            "REPEAT_EOT": repeat_eot,
            "MIROSTAT_V2_TAU": mirostat_v2_tau,
            "MIROSTAT_V2_ETA": mirostat_v2_eta,
            "SEED": seed,
            "MAX_TOKENS": max_tokens,
            "STOP": stop,
        }
        return self._call(_ROWS["exec_execute_input"], keys, None, timeout, ExecExecuteInputResult)

    def exec_next(
        self,
        *,
        ctxid: int | str,
        offset: int | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecNextResult:
        """Read the reply: what was generated since the last reading.

        ctxid: the context's id.
        offset: read again from this byte of the reply (optional).

        Returns: `is_special`, `offset`, `finish_reason`, `msgid`, `seed`, `tokens_in`,
            `tokens_cached`, `tokens_out`, `prompt_ms`, `decode_ms`, `data`.

        Without `offset` it goes on after the last byte that this client returned, so nothing is
        lost with a connection or an interrupted call; calls in one context are made one after
        another. `stream()` reads a whole reply.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfContextHalted (2013),
            InfInvalidParams (2016), ExecMissingMessage (3003).
        """
        return self._next(
            _ROWS["exec_next"],
            {"STOK": stok, "CTXID": ctxid, "OFFSET": offset},
            timeout,
            ExecNextResult,
        )

    def exec_stop(
        self,
        *,
        ctxid: int | str,
        offset: int | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecStopResult:
        """End the run; what was generated stays.

        ctxid: the context's id.
        offset: cut the reply at this byte (optional).

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["exec_stop"],
            {"STOK": stok, "CTXID": ctxid, "OFFSET": offset},
            None,
            timeout,
            ExecStopResult,
        )

    def exec_get_messages(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecGetMessagesResult:
        """List the messages stored in a context.

        ctxid: the context's id.

        Returns: `msgid`, `role`, `in_history`, `text`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016).
        """
        return self._call(
            _ROWS["exec_get_messages"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            ExecGetMessagesResult,
        )


class AsyncMethods(ABC):
    """A coroutine for every operation."""

    __slots__ = ()

    @abstractmethod
    async def _call(
        self,
        row: Operation | str,
        keys: Mapping[str, Any],
        data: str | None,
        timeout: Timeout,
        result: type[R],
    ) -> R:
        """Make the call and give its answer as a `result`."""

    @abstractmethod
    async def _next(
        self, row: Operation, keys: Mapping[str, Any], timeout: Timeout, result: type[R]
    ) -> R:
        """As `_call`, for exec_next: the position in the reply is filled in."""

    async def inf_hello(
        self,
        *,
        timeout: Timeout = UNSET,
    ) -> InfHelloResult:
        """Say which version serves, and which operations it has.

        Returns: `version`, `protocol`, `max_frame`, `operations`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfInvalidParams (2016).
        """
        return await self._call(_ROWS["inf_hello"], {}, None, timeout, InfHelloResult)

    async def inf_access_request(
        self,
        *,
        username: str,
        acctok: str,
        timeout: Timeout = UNSET,
    ) -> InfAccessRequestResult:
        """Open a session.

        username: the user's name.
        acctok: the user's access token.

        Returns: `stok`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfMaximumClients (2001),
            InfAuthorizationFailed (2008), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_access_request"],
            {"USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfAccessRequestResult,
        )

    async def inf_destroy_session(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDestroySessionResult:
        """End this session and its contexts.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_destroy_session"],
            {"STOK": stok},
            None,
            timeout,
            InfDestroySessionResult,
        )

    async def inf_get_sessions(
        self,
        *,
        username: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetSessionsResult:
        """List a user's sessions.

        username: the user's name.

        Returns: `sessions`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_get_sessions"],
            {"STOK": stok, "USERNAME": username},
            None,
            timeout,
            InfGetSessionsResult,
        )

    async def inf_end_sessions(
        self,
        *,
        username: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfEndSessionsResult:
        """End all sessions of a user.

        username: the user's name.

        Returns: `sessions`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_end_sessions"],
            {"STOK": stok, "USERNAME": username},
            None,
            timeout,
            InfEndSessionsResult,
        )

    async def inf_get_server_stats(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetServerStatsResult:
        """Tell what the daemon has done and holds.

        Returns: `uptime`, `connections`, `sessions`, `contexts`, `runs`, `requests`, `tokens_in`,
            `tokens_out`, `models`, `cores`, `users`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_get_server_stats"],
            {"STOK": stok},
            None,
            timeout,
            InfGetServerStatsResult,
        )

    async def inf_get_accessible_models(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetAccessibleModelsResult:
        """List the models that this user may use.

        Returns: `model`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_get_accessible_models"],
            {"STOK": stok},
            None,
            timeout,
            InfGetAccessibleModelsResult,
        )

    async def inf_get_program_models(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetProgramModelsResult:
        """List the registered models, loaded or not.

        Returns: `models`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_get_program_models"],
            {"STOK": stok},
            None,
            timeout,
            InfGetProgramModelsResult,
        )

    async def inf_get_model_info(
        self,
        *,
        model: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetModelInfoResult:
        """Describe a model.

        model: the model's name.

        Returns: `file_size`, `parameters`, `architecture`, `training_context`, `template`,
            `loaded`, `progress`, `budget_used`, `budget_free`, `contexts`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfInvalidParams (2016), InfUnableToOpenModelFile (2026).
        """
        return await self._call(
            _ROWS["inf_get_model_info"],
            {"STOK": stok, "MODEL": model},
            None,
            timeout,
            InfGetModelInfoResult,
        )

    async def inf_load_model(
        self,
        *,
        model: str,
        ctxsize: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfLoadModelResult:
        """Load a model, or change the budget of a loaded one.

        model: the model's name.
        ctxsize: cumulative context budget, in tokens; at least 32.

        Needs: the authority flag MODEL_LOAD_UNLOAD.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfAuthorizationFailed (2008), InfInvalidParams (2016),
            InfNotEnoughMemory (2023), InfUnableToOpenModelFile (2026).
        """
        return await self._call(
            _ROWS["inf_load_model"],
            {"STOK": stok, "MODEL": model, "CTXSIZE": ctxsize},
            None,
            timeout,
            InfLoadModelResult,
        )

    async def inf_unload_model(
        self,
        *,
        model: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfUnloadModelResult:
        """End a model's contexts and free its memory.

        model: the model's name.

        Needs: the authority flag MODEL_LOAD_UNLOAD.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfAuthorizationFailed (2008), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_unload_model"],
            {"STOK": stok, "MODEL": model},
            None,
            timeout,
            InfUnloadModelResult,
        )

    async def inf_tokenize(
        self,
        *,
        model: str,
        special: bool | None = None,
        data: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfTokenizeResult:
        """Make text into tokens.

        model: the model's name.
        special: whether control tokens are recognised (optional).
        data: the text (optional).

        Returns: `tokens`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfModelIsNotAccessible (2014), InfInvalidParams (2016),
            ExecTokenizationFailed (3004).
        """
        return await self._call(
            _ROWS["inf_tokenize"],
            {"STOK": stok, "MODEL": model, "SPECIAL": special},
            data,
            timeout,
            InfTokenizeResult,
        )

    async def inf_detokenize(
        self,
        *,
        model: str,
        tokens: Sequence[int],
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDetokenizeResult:
        """Make tokens into text.

        model: the model's name.
        tokens: token ids.

        Returns: `data`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfModelIsNotAccessible (2014), InfInvalidParams (2016),
            ExecTokenizationFailed (3004).
        """
        return await self._call(
            _ROWS["inf_detokenize"],
            {"STOK": stok, "MODEL": model, "TOKENS": tokens},
            None,
            timeout,
            InfDetokenizeResult,
        )

    async def inf_get_context_ids(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetContextIdsResult:
        """List this session's contexts.

        Returns: `ctxid`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_get_context_ids"],
            {"STOK": stok},
            None,
            timeout,
            InfGetContextIdsResult,
        )

    async def inf_create_context(
        self,
        *,
        model: str,
        ctxsize: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfCreateContextResult:
        """Make a context on a loaded model.

        model: the model's name.
        ctxsize: its size in tokens.

        Returns: `ctxid`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfContextIdMismatch (2005), InfInvalidTokenLimit (2006),
            InfFailedToCreateContext (2007), InfModelIsNotAccessible (2014), InfInvalidParams
            (2016), InfModelContextFull (2019), InfUserContextLengthExceeded (2020).
        """
        return await self._call(
            _ROWS["inf_create_context"],
            {"STOK": stok, "MODEL": model, "CTXSIZE": ctxsize},
            None,
            timeout,
            InfCreateContextResult,
        )

    async def inf_clear_context_history(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfClearContextHistoryResult:
        """Abort what runs, and forget messages and state.

        ctxid: the context's id.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfFailedToCreateContext (2007), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_clear_context_history"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            InfClearContextHistoryResult,
        )

    async def inf_get_context_status(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetContextStatusResult:
        """Tell the state of a context, as the code.

        ctxid: the context's id.

        Returns: `code` (INF_CONTEXT_ACTIVE, INF_CONTEXT_INACTIVE, INF_CONTEXT_INITIALIZING),
            `model`, `ctxsize`, `tokens_used`, `prompt_tokens`, `prompt_done`, `queue_position`,
            `estimate_ms`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextHalted (2013), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_get_context_status"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            InfGetContextStatusResult,
        )

    async def inf_destroy_context(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDestroyContextResult:
        """Abort what runs, and free the context.

        ctxid: the context's id.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_destroy_context"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            InfDestroyContextResult,
        )

    async def inf_create_new_user(
        self,
        *,
        username: str,
        acclimit: int,
        ctxlength: int,
        batch_set: int,
        max_proc_threads: int,
        proc_threads: int,
        authflags: Sequence[str],
        issuper: bool | int | None = None,
        isstatic: bool | int | None = None,
        acctok: str | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
        temp: float | None = None,
        repeat_n: int | None = None,
        repeat_penalty: float | None = None,
        repeat_present: float | None = None,
        repeat_frequency: float | None = None,
        repeat_lf: bool | None = None,
        repeat_eot: bool | None = None,
        mirostat_v2_tau: float | None = None,
        mirostat_v2_eta: float | None = None,
        data: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfCreateNewUserResult:
        """Create a user.

        username: the new user's name.
        acclimit: how many distinct models the user may have; 0: none.
        ctxlength: the largest CTXSIZE of one context, in tokens; 0: no contexts at all.
        batch_set: prompt tokens that one call may carry; 0: 512.
        max_proc_threads: threads of all the user's contexts together; 0: 1.
        proc_threads: threads of each of the user's contexts; 0: 1.
        authflags: authority flags by name.
        issuper: 1: a superuser (the integers 1 or 0) (optional).
        isstatic: 1: changed by superusers only (the integers 1 or 0) (optional).
        acctok: the access token; generated when absent (optional).
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
        data: the user's system prompt (optional).

        Returns: `acctok`.

        Needs: the authority flag USER_CREATE_DELETE.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfUserAlreadyExists (2015), InfInvalidParams (2016).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "ACCLIMIT": acclimit,
            "CTXLENGTH": ctxlength,
            "BATCH_SET": batch_set,
            "MAX_PROC_THREADS": max_proc_threads,
            "PROC_THREADS": proc_threads,
            "AUTHFLAGS": authflags,
            "ISSUPER": bit(issuper),
            "ISSTATIC": bit(isstatic),
            "ACCTOK": acctok,
            "TOP_K": top_k,
            "TOP_P": top_p,
            "MIN_P": min_p,
            "TYPICAL_P": typical_p,
            "TEMP": temp,
            "REPEAT_N": repeat_n,
            "REPEAT_PENALTY": repeat_penalty,
            "REPEAT_PRESENT": repeat_present,
            "REPEAT_FREQUENCY": repeat_frequency,
            "REPEAT_LF": repeat_lf,
            "REPEAT_EOT": repeat_eot,
            "MIROSTAT_V2_TAU": mirostat_v2_tau,
            "MIROSTAT_V2_ETA": mirostat_v2_eta,
        }
        return await self._call(
            _ROWS["inf_create_new_user"],
            keys,
            data,
            timeout,
            InfCreateNewUserResult,
        )

    async def inf_delete_user(
        self,
        *,
        username: str,
        acctok: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfDeleteUserResult:
        """Delete a user and end its sessions.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.

        Needs: the authority flag USER_CREATE_DELETE.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfCantDeleteSelf (2017),
            InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_delete_user"],
            {"STOK": stok, "USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfDeleteUserResult,
        )

    async def inf_modify_user_model_access_limit(
        self,
        *,
        username: str,
        acclimit: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserModelAccessLimitResult:
        """Set how many models a user may have.

        username: the user's name.
        acclimit: how many distinct models the user may have; 0: none.

        Needs: the authority flag USER_ACCESS_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_model_access_limit"],
            {"STOK": stok, "USERNAME": username, "ACCLIMIT": acclimit},
            None,
            timeout,
            InfModifyUserModelAccessLimitResult,
        )

    async def inf_modify_user_maximum_context_length(
        self,
        *,
        username: str,
        ctxlength: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserMaximumContextLengthResult:
        """Set a user's largest context size.

        username: the user's name.
        ctxlength: the largest CTXSIZE of one context, in tokens; 0: no contexts at all.

        Needs: the authority flag USER_CONTEXT_LENGTH_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_maximum_context_length"],
            {"STOK": stok, "USERNAME": username, "CTXLENGTH": ctxlength},
            None,
            timeout,
            InfModifyUserMaximumContextLengthResult,
        )

    async def inf_modify_user_batch_size(
        self,
        *,
        username: str,
        batch_set: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserBatchSizeResult:
        """Set how many prompt tokens one call may carry.

        username: the user's name.
        batch_set: prompt tokens that one call may carry; 0: 512.

        Needs: the authority flag USER_BATCH_LENGTH_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_batch_size"],
            {"STOK": stok, "USERNAME": username, "BATCH_SET": batch_set},
            None,
            timeout,
            InfModifyUserBatchSizeResult,
        )

    async def inf_modify_user_processor_thread_count(
        self,
        *,
        username: str,
        proc_threads: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserProcessorThreadCountResult:
        """Set the threads of each of a user's contexts.

        username: the user's name.
        proc_threads: threads of each of the user's contexts; 0: 1.

        Needs: the authority flag USER_PROCESSOR_THREAD_COUNT_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_processor_thread_count"],
            {"STOK": stok, "USERNAME": username, "PROC_THREADS": proc_threads},
            None,
            timeout,
            InfModifyUserProcessorThreadCountResult,
        )

    async def inf_modify_user_max_processor_thread_count(
        self,
        *,
        username: str,
        max_proc_threads: int,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserMaxProcessorThreadCountResult:
        """Set the threads of a user's contexts together.

        username: the user's name.
        max_proc_threads: threads of all the user's contexts together; 0: 1.

        Needs: the authority flag USER_MAX_PROCESSOR_THREAD_COUNT_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "MAX_PROC_THREADS": max_proc_threads,
        }
        return await self._call(
            _ROWS["inf_modify_user_max_processor_thread_count"],
            keys,
            None,
            timeout,
            InfModifyUserMaxProcessorThreadCountResult,
        )

    async def inf_modify_user_system_prompt(
        self,
        *,
        username: str,
        data: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserSystemPromptResult:
        """Set a user's system prompt; without data, none.

        username: the user's name.
        data: the system prompt (optional).

        Needs: the authority flag USER_SYS_PROMPT_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_system_prompt"],
            {"STOK": stok, "USERNAME": username},
            data,
            timeout,
            InfModifyUserSystemPromptResult,
        )

    async def inf_modify_user_make_superuser(
        self,
        *,
        username: str,
        acctok: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserMakeSuperuserResult:
        """Make a user a superuser.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.

        Needs: a superuser.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_make_superuser"],
            {"STOK": stok, "USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfModifyUserMakeSuperuserResult,
        )

    async def inf_modify_user_unmake_superuser(
        self,
        *,
        username: str,
        acctok: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserUnmakeSuperuserResult:
        """Make a superuser an ordinary user.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.

        Needs: a superuser.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_unmake_superuser"],
            {"STOK": stok, "USERNAME": username, "ACCTOK": acctok},
            None,
            timeout,
            InfModifyUserUnmakeSuperuserResult,
        )

    async def inf_modify_user_accept_models(
        self,
        *,
        username: str,
        model: Sequence[str],
        mode: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserAcceptModelsResult:
        """Set the models that a user may use.

        username: the user's name.
        model: model names.
        mode: replace (as without it), add or remove (optional).

        Returns: `model`.

        Needs: the authority flag USER_ACCESS_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfModelNameMismatch (2004), InfAuthorizationFailed (2008), InfInvalidParams (2016),
            InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_modify_user_accept_models"],
            {"STOK": stok, "USERNAME": username, "MODEL": model, "MODE": mode},
            None,
            timeout,
            InfModifyUserAcceptModelsResult,
        )

    async def inf_modify_user_set_authority_flags(
        self,
        *,
        username: str,
        acctok: str,
        authflags: Sequence[str],
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserSetAuthorityFlagsResult:
        """Replace a user's authority flags.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.
        authflags: authority flags by name.

        Needs: a superuser.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "ACCTOK": acctok,
            "AUTHFLAGS": authflags,
        }
        return await self._call(
            _ROWS["inf_modify_user_set_authority_flags"],
            keys,
            None,
            timeout,
            InfModifyUserSetAuthorityFlagsResult,
        )

    async def inf_modify_user_sampling_set(
        self,
        *,
        username: str,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
        temp: float | None = None,
        repeat_n: int | None = None,
        repeat_penalty: float | None = None,
        repeat_present: float | None = None,
        repeat_frequency: float | None = None,
        repeat_lf: bool | None = None,
        repeat_eot: bool | None = None,
        mirostat_v2_tau: float | None = None,
        mirostat_v2_eta: float | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserSamplingSetResult:
        """Replace a user's sampling set.

        username: the user's name.
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

        Needs: the authority flag USER_SAMPLER_MODIFICATION.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "TOP_K": top_k,
            "TOP_P": top_p,
            "MIN_P": min_p,
            "TYPICAL_P": typical_p,
            "TEMP": temp,
            "REPEAT_N": repeat_n,
            "REPEAT_PENALTY": repeat_penalty,
            "REPEAT_PRESENT": repeat_present,
            "REPEAT_FREQUENCY": repeat_frequency,
            "REPEAT_LF": repeat_lf,
            "REPEAT_EOT": repeat_eot,
            "MIROSTAT_V2_TAU": mirostat_v2_tau,
            "MIROSTAT_V2_ETA": mirostat_v2_eta,
        }
        return await self._call(
            _ROWS["inf_modify_user_sampling_set"],
            keys,
            None,
            timeout,
            InfModifyUserSamplingSetResult,
        )

    async def inf_modify_user_access_token(
        self,
        *,
        username: str,
        acctok: str,
        new_acctok: str | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfModifyUserAccessTokenResult:
        """Change an access token; the other sessions end.

        username: the user's name.
        acctok: confirms: the target's access token, or the caller's own.
        new_acctok: the new one; generated when absent (optional).

        Returns: `acctok`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        keys = {
            "STOK": stok,
            "USERNAME": username,
            "ACCTOK": acctok,
            "NEW_ACCTOK": new_acctok,
        }
        return await self._call(
            _ROWS["inf_modify_user_access_token"],
            keys,
            None,
            timeout,
            InfModifyUserAccessTokenResult,
        )

    async def inf_get_users(
        self,
        *,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetUsersResult:
        """List the users.

        Returns: `username`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["inf_get_users"],
            {"STOK": stok},
            None,
            timeout,
            InfGetUsersResult,
        )

    async def inf_get_user(
        self,
        *,
        username: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> InfGetUserResult:
        """Show what is stored of a user, but for the token.

        username: the user's name.

        Returns: `username`, `acclimit`, `ctxlength`, `batch_set`, `max_proc_threads`,
            `proc_threads`, `authflags`, `issuper`, `isstatic`, `model`, `top_k`, `top_p`, `min_p`,
            `typical_p`, `temp`, `repeat_n`, `repeat_penalty`, `repeat_present`, `repeat_frequency`,
            `repeat_lf`, `repeat_eot`, `mirostat_v2_tau`, `mirostat_v2_eta`, `data`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfAuthorizationFailed (2008), InfInvalidParams (2016), InfUserNotFound (2021).
        """
        return await self._call(
            _ROWS["inf_get_user"],
            {"STOK": stok, "USERNAME": username},
            None,
            timeout,
            InfGetUserResult,
        )

    async def exec_set_input(
        self,
        *,
        ctxid: int | str,
        role: str,
        data: str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecSetInputResult:
        """Store a message in a context.

        ctxid: the context's id.
        role: system, user or assistant.
        data: the message.

        Returns: `msgid`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["exec_set_input"],
            {"STOK": stok, "CTXID": ctxid, "ROLE": role},
            data,
            timeout,
            ExecSetInputResult,
        )

    async def exec_execute_input(
        self,
        *,
        ctxid: int | str,
        msgid: Sequence[int | str],
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
        temp: float | None = None,
        repeat_n: int | None = None,
        repeat_penalty: float | None = None,
        repeat_present: float | None = None,
        repeat_frequency: float | None = None,
        repeat_lf: bool | None = None,
        repeat_eot: bool | None = None,
        mirostat_v2_tau: float | None = None,
        mirostat_v2_eta: float | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecExecuteInputResult:
        """Append messages to the history and start a run.

        ctxid: the context's id.
        msgid: the messages, in order.
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
        seed: of the random draws; drawn when absent (optional).
        max_tokens: the longest reply, in tokens (optional).
        stop: strings that end the reply (optional).

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016),
            ExecAlreadyProcessing (3001), ExecMessageIdMismatch (3002), ExecTokenizationFailed
            (3004), ExecTokenLimitExceeded (3005), ExecProcessHalted (3009).
        """
        keys = {
            "STOK": stok,
            "CTXID": ctxid,
            "MSGID": msgid,
            "TOP_K": top_k,
            "TOP_P": top_p,
            "MIN_P": min_p,
            "TYPICAL_P": typical_p,
            "TEMP": temp,
            "REPEAT_N": repeat_n,
            "REPEAT_PENALTY": repeat_penalty,
            "REPEAT_PRESENT": repeat_present,
            "REPEAT_FREQUENCY": repeat_frequency,
            "REPEAT_LF": repeat_lf,
            "REPEAT_EOT": repeat_eot,
            "MIROSTAT_V2_TAU": mirostat_v2_tau,
            "MIROSTAT_V2_ETA": mirostat_v2_eta,
            "SEED": seed,
            "MAX_TOKENS": max_tokens,
            "STOP": stop,
        }
        return await self._call(
            _ROWS["exec_execute_input"],
            keys,
            None,
            timeout,
            ExecExecuteInputResult,
        )

    async def exec_next(
        self,
        *,
        ctxid: int | str,
        offset: int | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecNextResult:
        """Read the reply: what was generated since the last reading.

        ctxid: the context's id.
        offset: read again from this byte of the reply (optional).

        Returns: `is_special`, `offset`, `finish_reason`, `msgid`, `seed`, `tokens_in`,
            `tokens_cached`, `tokens_out`, `prompt_ms`, `decode_ms`, `data`.

        Without `offset` it goes on after the last byte that this client returned, so nothing is
        lost with a connection or an interrupted call; calls in one context are made one after
        another. `stream()` reads a whole reply.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfContextHalted (2013),
            InfInvalidParams (2016), ExecMissingMessage (3003).
        """
        return await self._next(
            _ROWS["exec_next"],
            {"STOK": stok, "CTXID": ctxid, "OFFSET": offset},
            timeout,
            ExecNextResult,
        )

    async def exec_stop(
        self,
        *,
        ctxid: int | str,
        offset: int | None = None,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecStopResult:
        """End the run; what was generated stays.

        ctxid: the context's id.
        offset: cut the reply at this byte (optional).

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["exec_stop"],
            {"STOK": stok, "CTXID": ctxid, "OFFSET": offset},
            None,
            timeout,
            ExecStopResult,
        )

    async def exec_get_messages(
        self,
        *,
        ctxid: int | str,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ExecGetMessagesResult:
        """List the messages stored in a context.

        ctxid: the context's id.

        Returns: `msgid`, `role`, `in_history`, `text`.

        Raises: PktOverloaded (1022), PktInternalError (1099), InfSessionTokenMismatch (2002),
            InfContextIdMismatch (2005), InfContextInitializing (2012), InfInvalidParams (2016).
        """
        return await self._call(
            _ROWS["exec_get_messages"],
            {"STOK": stok, "CTXID": ctxid},
            None,
            timeout,
            ExecGetMessagesResult,
        )
