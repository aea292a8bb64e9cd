"""`infd serve`: run the daemon."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from infd import config
from infd.config import Config, ModelConfig
from infd.failures import CommandError, UsageError
from infd.reach import warnings_told


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="run the daemon",
        description="Run the daemon. Everything works without a configuration file, which is read "
        "at the start;\nthese flags override it. SIGTERM, SIGINT and SIGHUP end the daemon.",
        epilog=_keys(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="the configuration (STATE/infd.toml if it is there)",
    )
    parser.add_argument("--state", metavar="DIR", help="the state folder")
    parser.add_argument("--models", metavar="DIR", help="the models folder")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen; port 0: a free one")
    parser.add_argument(
        "--plaintext",
        action="store_true",
        default=None,
        help="allow an address that other machines reach",
    )
    parser.add_argument("--log-format", choices=("auto", "json", "console"))
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    parser.add_argument(
        "--check",
        action="store_true",
        help="only look whether it could run, say what it found, and exit",
    )
    parser.add_argument(
        "--ready-fd",
        metavar="N",
        type=int,
        help="write a line HOST:PORT to this descriptor when it serves",
    )
    parser.set_defaults(run=run)


def _keys() -> str:
    rows = [
        f"  {key} ({kind}{', ' + default if default else ''})\n      {doc}"
        for key, kind, default, doc in config.table()
    ]
    return "keys of the configuration:\n" + "\n".join(rows)


def settings(given: argparse.Namespace) -> Config:
    """The configuration that the flags ask for. Raises ConfigError."""
    return config.load(
        given.config,
        state=given.state,
        models_folder=given.models,
        listen=given.listen,
        plaintext=given.plaintext,
        log_format=given.log_format,
        log_level=given.log_level,
    )


def run(given: argparse.Namespace) -> int:
    chosen = settings(given)
    if given.check:
        with warnings_told():
            return check(chosen)
    from infd import logs, notify
    from infd.accounts.store import StoreError
    from infd.listening import ListenError
    from infd.server import serve

    if given.ready_fd is not None:
        _check_open(given.ready_fd)
    notify.take_over()
    try:
        sockets = notify.inherited_sockets()
    except OSError as error:
        raise CommandError(f"socket activation: {error}") from None
    logs.configure(chosen.log_format, chosen.log_level)
    try:
        return serve(chosen, sockets=sockets, ready_fd=given.ready_fd)
    except (StoreError, ListenError) as error:
        raise CommandError(str(error)) from None
    except CommandError:
        raise
    except Exception as error:
        name = logs.incident(error)
        raise CommandError(f"unexpected failure; the log tells of incident {name}") from error
    finally:
        logs.close()


def _check_open(descriptor: int) -> None:
    """Whoever waits for a line there would wait for ever. Raises UsageError."""
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        raise UsageError(f"--ready-fd {descriptor}: no such descriptor is open") from None


def check(chosen: Config) -> int:
    """Say what a daemon with this configuration would find. Raises CommandError if it could not
    run; nothing is changed, and a daemon that runs on the folder is no obstacle."""
    from infd.accounts.offline import OfflineAccounts
    from infd.accounts.store import StoreError
    from infd.models.header import HeaderError, read_header
    from infd.models.registry import Registry
    from infd.reach import is_running

    print(f"configuration: {chosen.file or 'defaults'}")
    print(f"listens on: {chosen.listen}")
    warned: list[str] = []
    try:
        with OfflineAccounts(chosen.state) as accounts:
            users = accounts.users()
        supers = sum(user.is_super for user in users)
        print(f"state: {chosen.state}, {len(users)} users, {supers} of them superusers")
    except StoreError as error:
        if not is_running(chosen.state):
            raise CommandError(str(error)) from None
        print(f"state: {chosen.state}, in use by a running daemon")
    else:
        warned = trouble_listening(chosen)
    print(f"models: {chosen.models_folder}")
    registry = Registry(chosen, tell=lambda problem: warned.append(f"models folder: {problem}"))
    broken = 0
    for name in registry.names():
        file = registry.find(name)
        assert file is not None
        try:
            header = read_header(file.path)
            for part in file.paths[1:]:
                read_header(part, part=True)
            said = f"{header.architecture}, {file.size()} bytes"
            when = ", loaded at start" if file.settings.load else ""
            if header.cut_short:
                raise HeaderError("it ends before its weights do; was it downloaded whole?")
        except HeaderError as error:
            broken, said, when = broken + 1, f"cannot be used: {error}", ""
        except OSError as error:
            broken, said, when = broken + 1, f"{error.filename}: {error.strerror}", ""
        print(f"  {name}: {said}{when}")
    for line in warned + without_effect(chosen):
        print(f"warning: {line}")
    if broken:
        raise CommandError(f"{broken} of the models cannot be used")
    print("ok")
    return 0


def trouble_listening(chosen: Config) -> list[str]:
    """A line if somebody else listens on the address: it may be systemd's socket for this daemon.
    Raises CommandError if nobody can."""
    from infd.listening import ListenError, open_socket

    try:
        open_socket(chosen).close()
    except ListenError as error:
        if error.taken:
            return [f"{error} If systemd's infd.socket holds it for this daemon, all is well."]
        raise CommandError(str(error)) from None
    return []


def without_effect(chosen: Config) -> list[str]:
    """What was set for models and will change nothing, a line each. The engine is imported only
    if layers are to be computed on a GPU: whether there is one, llama.cpp alone knows."""
    lines = []
    for name, table in chosen.models.items():
        placement = table.placement or chosen.placement
        if table.batched_fair != ModelConfig().batched_fair and placement != "batched":
            lines.append(
                f'models.{name}.batched_fair = "{table.batched_fair}" has no effect: the model\'s '
                f'placement is "{placement}"; set it to "batched", or leave batched_fair out'
            )
        if table.n_gpu_layers and not _gpu_is_usable():
            lines.append(
                f"models.{name}.n_gpu_layers = {table.n_gpu_layers} has no effect: llama.cpp finds "
                "no GPU, or was built without support for one, and computes on processors"
            )
    return lines


def _gpu_is_usable() -> bool:
    from infd.engine.library import supports_gpu

    return supports_gpu()
