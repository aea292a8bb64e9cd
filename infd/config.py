"""The daemon's configuration: defaults, then infd.toml, then flags.

The fields of `Config` are the table: a key is a field, with its kind, default and sentence. The
sample file that `infd init` writes and the help of `infd serve` are made from it, so there is
nothing to keep in step. Everything works without a file.

- Without `--config`, `infd.toml` in the state folder is read if it is there.
- Relative paths in a file start at that file's folder; those of flags, at the working folder.
- A key that does not exist is refused: one line with the file, the key and, if one is near, that.
"""

# ruff: noqa: RUF009  setting() makes a field, as dataclasses.field does.

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from infd.engine.options import (
    BATCHED_FAIR,
    FLASH_ATTENTION,
    KV_TYPES,
    MIN_CTXSIZE,
    MOST_LOOKUP,
    PLACEMENTS,
    ModelOptions,
)
from infd.engine.pace import SLICE_MS
from infd.failures import CommandError
from infd.settings import (
    ADDRESS,
    BOOLEAN,
    MEMORY,
    PATH,
    ROOM,
    SECONDS,
    SHARE,
    Kind,
    choice,
    count,
    how_exposed,
    integer,
    setting,
    size,
    split_address,
)
from infd.toml import OWNER, read_toml

FILE_NAME = "infd.toml"
_IN_FILE = {
    "state": '"."',
    "models_folder": '"models"',
    "path": '"models/NAME.gguf"',
    "ctxsize": "8192",
}
"""What the sample shows of defaults that are no constants: seen from the state folder."""
NAME_BYTES = 255
"""The longest model name: what a file name may have on Linux's file systems."""


class ConfigError(CommandError):
    """A configuration that cannot be used; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One `[models.NAME]` table."""

    path: Path | None = setting(
        PATH, None, "The GGUF file; without it NAME.gguf in the models folder.", shown=""
    )
    load: bool = setting(BOOLEAN, False, "Load the model when the daemon starts.")
    ctxsize: int | None = setting(
        count(MIN_CTXSIZE), None,
        "The cumulative context budget in tokens when loaded at start; "
        "8 × the model's training context if not given.", shown="",
    )  # fmt: skip
    extra_bufts: bool = setting(
        BOOLEAN, True,
        "Let llama.cpp repack the weights for this processor (faster; false if it crashes).",
    )  # fmt: skip
    placement: str | None = setting(
        choice(*PLACEMENTS), None,
        "Where this model's contexts compute, if not as the key above says for all models.",
        shown="dedicated",
    )  # fmt: skip
    batched_fair: str = setting(
        choice(*BATCHED_FAIR), "throughput",
        "What a batched model's steps are for: many tokens in all, or short gaps between one's.",
    )  # fmt: skip
    flash_attention: str = setting(
        choice(*FLASH_ATTENTION), "auto",
        "Whether contexts use flash attention; auto where it saves much memory.",
    )  # fmt: skip
    kv_type: str = setting(
        choice(*KV_TYPES), "f16",
        "What the KV cache holds; smaller types save memory and need flash attention.",
    )  # fmt: skip
    n_gpu_layers: int = setting(
        integer(-1),
        0,
        "Layers that are computed on a GPU, a few calls at a time; -1 is all of them.",
    )
    lookup: int = setting(
        count(0, MOST_LOOKUP), 0,
        "Tokens that are guessed from the context itself and computed at one time; 0 is off. "
        "Dedicated placement only; infd bench says whether it pays.",
    )  # fmt: skip

    @property
    def options(self) -> ModelOptions:
        """What the engine is told. Raises ValueError for keys that do not go together."""
        return ModelOptions(
            flash_attention=self.flash_attention,
            kv_type=self.kv_type,
            n_gpu_layers=self.n_gpu_layers,
            lookup=self.lookup,
            placement=self.placement or "dedicated",
            batched_fair=self.batched_fair,
        )


@dataclass(frozen=True, slots=True)
class Config:
    """Every key, checked. Durations are seconds, sizes bytes."""

    state: Path = setting(
        PATH, Path(), "The state folder: users, caches, this file.",
        shown="$STATE_DIRECTORY, else ~/.local/state/infd",
    )  # fmt: skip
    models_folder: Path = setting(
        PATH, Path(), "The models folder: every *.gguf in it is a model.", shown="STATE/models"
    )
    listen: str = setting(ADDRESS, "127.0.0.1:4633", "Where to listen; port 0 takes a free one.")
    plaintext: bool = setting(
        BOOLEAN, False, "Allow an address that other machines reach, although nothing is encrypted."
    )
    max_frame: int = setting(
        size(2**16, 2**30), 2**24, "The longest frame of an authenticated connection."
    )
    frame_seconds: float = setting(
        SECONDS, 30.0, "How long a frame that was begun may take to be complete."
    )
    max_connections: int = setting(count(1), 4096, "Connections at one time.")
    max_sessions: int = setting(count(1), 4096, "Sessions at one time.")
    max_sessions_per_user: int = setting(count(1), 256, "Sessions of one user at one time.")
    max_contexts_per_user: int = setting(count(1), 64, "Contexts of one user at one time.")
    max_user_share: float = setting(
        SHARE, 0.5,
        "The part of a model's budget that one user may hold when several users reach the model.",
    )  # fmt: skip
    session_idle: float = setting(
        SECONDS, 600.0, "A session ends this long after its last connection was lost."
    )
    session_attached: float = setting(
        SECONDS, 86400.0, "A connected session ends after this long without a request."
    )
    orphan_grace: float = setting(
        SECONDS, 30.0, "A run is stopped this long after its session's last connection was lost."
    )
    run_ahead: int = setting(
        count(1), 256,
        "Tokens that a run may be ahead of its reader before it gets spare time only.",
    )  # fmt: skip
    run_timeout: float = setting(
        SECONDS, 86400.0, "A run is aborted after this long; 0 is no limit."
    )
    drain: float = setting(
        SECONDS, 30.0, "How long runs may go on after SIGTERM before they are aborted."
    )
    memory_limit: float | int = setting(
        MEMORY, 0.9,
        "What all models' weights may take: a fraction of the machine's or cgroup's memory, "
        "or a size.",
    )  # fmt: skip
    prefix_memory: float | int = setting(
        ROOM, 0.05,
        "What kept beginnings of prompts may take, so that a user's new contexts need not compute "
        "its system prompt again.",
    )  # fmt: skip
    context_swap_idle: float = setting(
        SECONDS, 600.0,
        "A context that was not used for so long is saved to disk until its next use; 0 is never.",
    )  # fmt: skip
    context_memory: float | int = setting(
        MEMORY, 0.5,
        "What contexts and kept beginnings may take before idle contexts are saved to disk; of "
        "batched models only what lies outside of their instance counts.",
    )  # fmt: skip
    swap_disk: int = setting(
        size(0, 2**50), 8 * 2**30,
        "What saved contexts may take of the state folder's disk; 0: they stay in memory.",
    )  # fmt: skip
    cores: int = setting(
        count(0, 4096), 0, "Threads that compute at one moment; 0 is every core that may be used."
    )
    placement: str = setting(
        choice(*PLACEMENTS), "dedicated",
        "dedicated: one llama.cpp instance for each context; batched: all contexts of a model "
        "in the batches of one.",
    )  # fmt: skip
    slice_ms: int = setting(
        count(1, 60_000), SLICE_MS,
        "Milliseconds that a call evaluating a prompt may take while others wait for cores.",
    )  # fmt: skip
    hash_queue: int = setting(
        count(1, 4096), 32, "Access tokens that wait to be hashed before logins are turned away."
    )
    probe_timeout: float = setting(
        SECONDS, 600.0, "How long trying out a model file in a process of its own may take."
    )
    log_format: str = setting(
        choice("auto", "json", "console"), "auto", "The log on standard error; auto is console on "
        "a terminal, else json.",
    )  # fmt: skip
    log_level: str = setting(
        choice("debug", "info", "warning", "error"), "info", "The least level that is logged."
    )
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    """The `[models.NAME]` tables by name."""
    file: Path | None = None
    """The file that was read, if any."""

    @property
    def host(self) -> str:
        return split_address(self.listen)[0]

    @property
    def port(self) -> int:
        return split_address(self.listen)[1]


def default_state(environ: Mapping[str, str] = os.environ) -> Path:
    """systemd's StateDirectory when it gives one, else the user's own state folder (XDG)."""
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    home = environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path("~/.local/state").expanduser()) / "infd"


def load(file: Path | None = None, **flags: Any) -> Config:
    """The configuration of a file and flags; a flag of None is not given.

    Raises ConfigError: the file cannot be read or is no TOML, a key is unknown or its value is
    wrong, or the address would be open to other machines without `plaintext`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    over = _read("the flags", given, Config, Path.cwd())
    if file is None:
        file = _beside(Path(over.get("state") or default_state()))
    values: dict[str, Any] = {}
    if file is not None:
        document = _parse(file)
        tables = _read_tables(file, document.pop("models", {}))
        values = _read(str(file), document, Config, file.absolute().parent)
        values["models"] = tables
    values |= over
    state = values.setdefault("state", default_state())
    values.setdefault("models_folder", state / "models")
    config = Config(file=file, **values)
    _check(config, "" if "listen" in over else f"{file}: ")
    return config


def _beside(state: Path) -> Path | None:
    """The state folder's own file, if there is one."""
    file = state / FILE_NAME
    try:
        return file if stat.S_ISREG(file.stat().st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"state folder {state}: {error.strerror}; {OWNER} the folder, or name another with "
            "--state"
        ) from None


def sample() -> str:
    """The text of an infd.toml with every key, its sentence and its default, commented out."""
    lines = [
        "# infd's configuration, read when the daemon starts. Every key is optional; what is "
        "commented",
        "# out is the default, but for ctxsize, which shows an example.",
        '# Sizes: bytes, or text such as "16MiB". Durations: seconds.',
    ]
    for row in _rows(Config):
        lines += ["", f"# {row.metadata['doc']} ({row.metadata['kind'].word})", _in_file(row)]
    lines += [
        "", "# One table for a model that is elsewhere, or that is loaded at start:",
        "# [models.NAME]",
    ]  # fmt: skip
    for row in _rows(ModelConfig):
        lines += [f"# {row.metadata['doc']} ({row.metadata['kind'].word})", _in_file(row)]
    return "\n".join(lines) + "\n"


def table() -> list[tuple[str, str, str, str]]:
    """Every key as (key, kind, default, sentence), for help and documents."""
    rows = [("", row) for row in _rows(Config)]
    rows += [("models.NAME.", row) for row in _rows(ModelConfig)]
    return [
        (
            prefix + row.name,
            row.metadata["kind"].word,
            _shown(row).partition(" = ")[2],
            row.metadata["doc"],
        )
        for prefix, row in rows
    ]


def _rows(owner: type) -> list[Field[Any]]:
    return [row for row in fields(owner) if "kind" in row.metadata]


def _shown(row: Field[Any]) -> str:
    if row.metadata["shown"] is not None:
        return f'# {row.name} = "{row.metadata["shown"]}"'
    # JSON's text, number and truth values are written as TOML's.
    return f"# {row.name} = {json.dumps(row.default)}"


def _in_file(row: Field[Any]) -> str:
    return f"# {row.name} = {_IN_FILE[row.name]}" if row.name in _IN_FILE else _shown(row)


def _check(config: Config, where: str) -> None:
    """`where`: the file and a colon, if `listen` stands in one."""
    exposed = how_exposed(config.host)
    if exposed and not config.plaintext:
        raise ConfigError(
            f"{where}listen = {config.listen!r} {exposed}, and nothing would be encrypted: listen "
            "on 127.0.0.1, or set plaintext = true (--plaintext)"
        )
    for name, table in config.models.items():
        try:
            _ = replace(table, placement=table.placement or config.placement).options
        except ValueError as error:
            raise ConfigError(f"{config.file}: models.{name}: {error}") from None


def _parse(file: Path) -> dict[str, Any]:
    try:
        return read_toml(file)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def _read(
    where: str, document: Mapping[str, Any], owner: type, base: Path, prefix: str = ""
) -> dict[str, Any]:
    """The checked values of a table whose keys are `owner`'s fields."""
    known: dict[str, Kind] = {row.name: row.metadata["kind"] for row in _rows(owner)}
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in known:
            if owner is Config and name in {row.name for row in _rows(ModelConfig)}:
                raise ConfigError(
                    f"{where}: {name!r} is a key of a model: move it into a table [models.NAME]"
                )
            names = [*known, "models"] if owner is Config else list(known)
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"is {prefix + near[0]!r} meant?" if near else "infd serve --help lists the keys"
            raise ConfigError(f"{where}: unknown key {prefix + name!r}; {hint}")
        try:
            result = known[name].read(value)
        except ValueError as error:
            raise ConfigError(f"{where}: {prefix}{name} {error}") from None
        values[name] = base / result if isinstance(result, Path) else result
    return values


def _read_tables(file: Path, tables: Any) -> dict[str, ModelConfig]:
    if not isinstance(tables, dict):
        raise ConfigError(f"{file}: models is for [models.NAME] tables; the folder is the key "
                          "'models_folder'")  # fmt: skip
    base = file.absolute().parent
    result: dict[str, ModelConfig] = {}
    for name, values in tables.items():
        prefix = f"models.{name}."
        if not isinstance(values, dict):
            raise ConfigError(f"{file}: models.{name} must be a table: [models.{name}]")
        if not name.strip() or len(name.encode()) > NAME_BYTES or not name.isprintable():
            raise ConfigError(f"{file}: models.{name!r} is no name for a model")
        result[name] = ModelConfig(**_read(str(file), values, ModelConfig, base, prefix))
    return result
