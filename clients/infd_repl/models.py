"""Which model to talk to when nobody said."""

from __future__ import annotations

from infd_client import Client


def accessible(client: Client) -> list[str]:
    """The models that the user may use, sorted."""
    return sorted(client.inf_get_accessible_models().model)


def only_one(client: Client, names: list[str]) -> str | None:
    """The only accessible model, or the only loaded one; None when it is to be chosen.

    Raises ValueError when there is none at all.
    """
    if not names:
        raise ValueError("This user may use no model; an administrator can grant one.")
    if len(names) == 1:
        return names[0]
    loaded = [name for name in names if client.inf_get_model_info(model=name).loaded]
    return loaded[0] if len(loaded) == 1 else None


def picked(answer: str, names: list[str]) -> str | None:
    """The model that a person means: by its name, else by its number in the list, from 1."""
    if answer in names:
        return answer
    number = int(answer) if answer.isdecimal() and len(answer) < 10 else 0
    return names[number - 1] if 0 < number <= len(names) else None


def settle(client: Client, wanted: str | None) -> str:
    """The model that was asked for, else the only one. Raises ValueError naming the choices."""
    if wanted:
        return wanted
    names = accessible(client)
    found = only_one(client, names)
    if found is None:
        raise ValueError(f"There are several models; choose one with --model: {', '.join(names)}.")
    return found
