"""The user operations on the state folder of a daemon that is not running.

The same operations, rules and refusals as over the wire, for the machine's operator, who needs no
access token: whoever may write the folder may change its users anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from infd.accounts import authority
from infd.accounts.authority import OPERATOR
from infd.accounts.offline import OfflineAccounts
from infd.accounts.user import LIMITS, User, check_flags, sampling_of
from infd.wire import Answer
from infd_protocol.errors import PktUndefinedOperation
from infd_protocol.operations import OPERATIONS

_LIMIT_OF = {
    "inf_modify_user_model_access_limit": "ACCLIMIT",
    "inf_modify_user_maximum_context_length": "CTXLENGTH",
    "inf_modify_user_batch_size": "BATCH_SET",
    "inf_modify_user_processor_thread_count": "PROC_THREADS",
    "inf_modify_user_max_processor_thread_count": "MAX_PROC_THREADS",
}


class StoppedDaemon:
    """Carries user operations out on an opened store. `models` are the names that exist."""

    token = ""

    def __init__(self, accounts: OfflineAccounts, models: Callable[[], Collection[str]]) -> None:
        self._accounts = accounts
        self._models = models

    def call(self, operation: str, data: str | None = None, /, **keys: Any) -> Answer:
        """Carry an operation out; durable on return. Raises the InfdError of a refusal."""
        row = OPERATIONS[operation]
        keys = row.parse({"STOK": "", **keys})
        data = row.parse_data(data)
        name = keys.get("USERNAME", "")
        if operation == "inf_get_users":
            return Answer({"USERNAME": [user.username for user in self._accounts.users()]})
        if operation == "inf_get_user":
            return _shown(authority.check_exists(self._accounts.user(name), name))
        if operation == "inf_create_new_user":
            return Answer({"ACCTOK": self._accounts.create(_new(keys, data), keys.get("ACCTOK"))})
        if operation == "inf_delete_user":
            self._accounts.delete(name)
            return Answer()
        if operation == "inf_modify_user_access_token":
            return Answer({"ACCTOK": self._accounts.set_token(name, keys.get("NEW_ACCTOK"))})
        changed = self._accounts.modify(name, self._change(operation, keys, data))
        if operation == "inf_modify_user_accept_models":
            return Answer({"MODEL": list(changed.models)})
        return Answer()

    def _change(
        self, operation: str, keys: dict[str, Any], data: str | None
    ) -> Callable[[User], User]:
        limit = _LIMIT_OF.get(operation)
        if limit is not None:
            return lambda user: authority.limited(OPERATOR, user, limit, keys[limit])
        changes: dict[str, Callable[[User], User]] = {
            "inf_modify_user_system_prompt": lambda user: authority.prompted(user, data or ""),
            "inf_modify_user_make_superuser": authority.promoted,
            "inf_modify_user_unmake_superuser": lambda user: authority.demoted(
                user, self._accounts.superusers()
            ),
            "inf_modify_user_set_authority_flags": lambda user: authority.flagged(
                user, check_flags(keys["AUTHFLAGS"])
            ),
            "inf_modify_user_sampling_set": lambda user: authority.sampled(user, sampling_of(keys)),
            "inf_modify_user_accept_models": lambda user: authority.accepting(
                OPERATOR, user, keys["MODEL"], keys.get("MODE", "replace"), self._models()
            ),
        }
        change = changes.get(operation)
        if change is None:
            raise PktUndefinedOperation(f"{operation} needs a running daemon.")
        return change


def _new(keys: dict[str, Any], data: str | None) -> User:
    user = User(
        keys["USERNAME"],
        flags=check_flags(keys["AUTHFLAGS"]),
        is_super=bool(keys.get("ISSUPER", False)),
        is_static=bool(keys.get("ISSTATIC", False)),
        sampling=sampling_of(keys),
        system_prompt=data or "",
    )
    return replace(user, **{attribute: keys[key] for key, attribute in LIMITS.items()})


def _shown(user: User) -> Answer:
    keys = {
        "USERNAME": user.username,
        **{key: getattr(user, attribute) for key, attribute in LIMITS.items()},
        "AUTHFLAGS": sorted(user.flags),
        "ISSUPER": int(user.is_super),
        "ISSTATIC": int(user.is_static),
        "MODEL": list(user.models),
        **user.sampling,
    }
    return Answer(keys, user.system_prompt)
