"""The configuration: every key, every refusal in one line, and what overrides what."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from infd import config
from infd.config import Config, ConfigError, ModelConfig
from infd.engine.options import ModelOptions
from infd.settings import how_exposed, split_address


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No configuration of this machine's user, and a working folder of the test's own."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    file = folder / "infd.toml"
    file.write_text(text)
    return file


def loaded(folder: Path, text: str, **flags: Any) -> Config:
    return config.load(written(folder, text), **flags)


def refusal(folder: Path, text: str, **flags: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        loaded(folder, text, **flags)
    said = str(raised.value)
    assert "\n" not in said
    return said


def test_everything_works_without_a_file(home: Path) -> None:
    found = config.load()
    assert found.state == home / "home" / "infd"
    assert found.models_folder == found.state / "models"
    assert (found.host, found.port) == ("127.0.0.1", 4633)
    assert found.file is None
    assert (found.max_contexts_per_user, found.max_user_share, found.run_ahead) == (64, 0.5, 256)
    assert (found.session_idle, found.session_attached, found.orphan_grace) == (600, 86400, 30)
    assert (found.max_frame, found.frame_seconds, found.memory_limit) == (2**24, 30, 0.9)


def test_the_state_folder_of_the_service_manager(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/infd:/var/lib/other")
    assert config.load().state == Path("/var/lib/infd")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert config.load().state == Path("~/.local/state/infd").expanduser()


def test_the_file_in_the_state_folder_is_read(home: Path) -> None:
    state = home / "state"
    state.mkdir()
    written(state, "drain = 7\nmodels_folder = 'gguf'\n")
    found = config.load(state=str(state))
    assert (found.drain, found.file) == (7.0, state / "infd.toml")
    assert found.models_folder == state / "gguf"
    other = written(home, "drain = 8")
    assert config.load(other, state=str(state)).drain == 8.0


def test_flags_override_and_start_at_the_working_folder(home: Path) -> None:
    folder = home / "etc"
    folder.mkdir()
    text = "state = 'here'\nmodels_folder = 'there'\nlisten = '127.0.0.1:1'\nlog_level = 'debug'\n"
    found = loaded(folder, text, models_folder="mine", listen="127.0.0.1:2", log_level=None)
    assert found.state == folder / "here"
    assert found.models_folder == home / "mine"
    assert (found.port, found.log_level) == (2, "debug")


def test_model_tables(home: Path) -> None:
    text = """
        [models.one]
        path = "m/one.gguf"
        load = true
        ctxsize = 4096
        [models."two.Q4"]
        extra_bufts = false
    """
    found = loaded(home, text).models
    assert found["one"] == ModelConfig(path=home / "m/one.gguf", load=True, ctxsize=4096)
    assert found["two.Q4"] == ModelConfig(extra_bufts=False)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sesion_idle = 5", ["infd.toml", "'sesion_idle'", "'session_idle'"]),
        ("[models.m]\nctxsize = 31", ["models.m.ctxsize", "32 or more"]),
        ("[models.m]\nctx = 5", ["'models.m.ctx'", "'models.m.ctxsize'"]),
        ("foo = 1", ["infd.toml: unknown key 'foo'; infd serve --help lists the keys"]),
        ("lookup = 4", ["infd.toml: 'lookup' is a key of a model", "[models.NAME]"]),
        ("[model.m]\nload = true", ["'model'", "'models'"]),
        ("models = '/x'", ["models_folder"]),
        ("[models]\nm = 5", ["[models.m]"]),
        ('[models."a\\nb"]', ["no name"]),
        (f"[models.{'x' * 300}]", ["no name"]),
        ("drain = -1", ["infd.toml: drain must be a number of seconds"]),
        ("drain = inf", ["drain must"]),
        ("drain = true", ["drain must"]),
        ("max_sessions = 0", ["max_sessions must be a whole number, 1 or more"]),
        ("max_sessions = 1.5", ["max_sessions must"]),
        ("max_sessions = true", ["max_sessions must"]),
        ("plaintext = 1", ["plaintext must be true or false"]),
        ("max_frame = '1 KiB'", ["max_frame must be 65536 to 1073741824 bytes"]),
        ("max_frame = 'much'", ["16MiB"]),
        ("memory_limit = 1.5", ["memory_limit must be a fraction"]),
        ("memory_limit = 0", ["memory_limit must"]),
        ("memory_limit = '200%'", ["memory_limit must"]),
        ("memory_limit = 'much'", ["memory_limit must be a fraction", "16MiB"]),
        ("prefix_memory = 'much'", ["prefix_memory must be a fraction", "16MiB", "0 for none"]),
        ("max_user_share = 0", ["max_user_share must be a fraction"]),
        ("log_format = 'xml'", ["auto, json, console"]),
        ("state = 5", ["state must be a path"]),
        ("state = '~nobody-of-this-name/x'", ["state names the home"]),
        ("state = ''", ["state must be a path"]),
        ("listen = 'localhost'", ["HOST:PORT"]),
        ("listen = '::1:5'", ["HOST:PORT"]),
        ("listen = '127.0.0.1:70000'", ["HOST:PORT"]),
        ("listen = 4633", ["HOST:PORT"]),
        ("listen = '0.0.0.0:4633'", ["infd.toml: listen = '0.0.0.0:4633'", "plaintext = true"]),
        ("listen = ':4633'", ["plaintext = true"]),
        ("listen = 'lcalhost:4633'", ["names a host that is not localhost", "plaintext = true"]),
        ("[models.m]\nkv_type = 'q3_0'", ["models.m.kv_type must be one of f16, bf16"]),
        ("[models.m]\nflash_attention = true", ["flash_attention must be one of auto, on, off"]),
        ("[models.m]\nlookup = 17", ["models.m.lookup must be a whole number, 0 to 16"]),
        ("[models.m]\nn_gpu_layers = -2", ["models.m.n_gpu_layers must be a whole number, -1"]),
        ("[models.m]\nplacement = 'both'", ["placement must be one of dedicated, batched"]),
        ("[models.m]\nbatched_fair = 1", ["batched_fair must be one of throughput, strict"]),
        (
            "[models.m]\nlookup = 4\nplacement = 'batched'",
            ["infd.toml: models.m: lookup needs placement", "set lookup to 0"],
        ),
        (
            "placement = 'batched'\n[models.m]\nlookup = 4",
            ["infd.toml: models.m: lookup needs placement", "set lookup to 0"],
        ),
        (
            "[models.m]\nkv_type = 'q4_0'\nflash_attention = 'off'",
            ['infd.toml: models.m: kv_type "q4_0" needs flash attention'],
        ),
        ("drain = x", ["infd.toml", "line 1", "drain = x"]),
        ("drain = 1\ndrain = 2", ["infd.toml: line 2 names what was named before", "drain = 2"]),
        ("[models.m]\npath = 'x'\n[models.m]", ["line 3 names what was named", "[models.m]"]),
        ("x = 'ü", ["infd.toml"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(home: Path, text: str, parts: list[str]) -> None:
    said = refusal(home, text)
    for part in parts:
        assert part in said


def test_files_that_cannot_be_read(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        config.load(home / "none.toml")
    (home / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load(home / "binary.toml")


def test_plaintext_allows_any_address(home: Path) -> None:
    found = loaded(home, "listen = '0.0.0.0:4633'\nplaintext = true")
    assert found.host == "0.0.0.0"
    assert loaded(home, "listen = '0.0.0.0:1'", plaintext=True).port == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("'2GiB'", 2**31), ("'1.5 k'", 1536), ("4096", 4096), ("'50%'", 0.5), ("0.25", 0.25),
     ("1.0", 1.0), ("'700MB'", 700 * 2**20)],
)  # fmt: skip
def test_memory(home: Path, text: str, value: float) -> None:
    assert loaded(home, f"memory_limit = {text}").memory_limit == value


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("0.0", 0), ("'64MiB'", 2**26), ("1.0", 1)])
def test_room_may_be_none(home: Path, text: str, value: float) -> None:
    assert loaded(home, f"prefix_memory = {text}").prefix_memory == value


def test_the_sample_says_every_key_and_its_default(home: Path) -> None:
    text = config.sample()
    assert tomllib.loads(text) == {}
    bare = [line[2:] for line in text.splitlines() if " = " in line]
    names = {line.partition(" = ")[0] for line in bare}
    known = {
        row.name
        for owner in (Config, ModelConfig)
        for row in dataclasses.fields(owner)
        if "kind" in row.metadata
    }
    assert names == known
    # Put in force in the state folder, all of it is accepted, and the top changes nothing.
    state = home / "home" / "infd"
    state.mkdir(parents=True)
    meant = [line[2:] for line in text.splitlines() if " = " in line or line == "# [models.NAME]"]
    written(state, "\n".join(meant))
    found = config.load()
    assert found.models["NAME"].path == state / "models" / "NAME.gguf"
    # What it calls an example is what a model without a table does not have.
    plain, shown = ModelConfig(placement="dedicated"), found.models["NAME"]
    assert dataclasses.replace(shown, path=None, ctxsize=None) == plain
    assert shown.ctxsize != plain.ctxsize
    assert "but for ctxsize" in text.replace("\n# ", " ")
    (state / "infd.toml").unlink()
    assert dataclasses.replace(found, file=None, models={}) == config.load()


def test_the_table_has_a_sentence_for_every_key() -> None:
    for key, kind, _, sentence in config.table():
        assert key
        assert kind
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("", False),
     ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("host.localhost", False)],
)  # fmt: skip
def test_what_is_loopback(host: str, local: bool) -> None:
    assert bool(how_exposed(host)) is not local


def test_addresses() -> None:
    assert split_address("[::1]:5") == ("::1", 5)
    assert split_address("localhost:0") == ("localhost", 0)
    for wrong in ("x", "x:", "x:-1", "x:٣", "[::1]", "::1"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            split_address(wrong)


def test_the_engine_options_of_a_model(home: Path) -> None:
    text = """
        [models.fast]
        flash_attention = "on"
        kv_type = "q8_0"
        n_gpu_layers = -1
        lookup = 8
        [models.shared]
        placement = "batched"
        batched_fair = "strict"
        [models.plain]
    """
    found = loaded(home, text).models
    assert found["fast"].options == ModelOptions(
        flash_attention="on", kv_type="q8_0", n_gpu_layers=-1, lookup=8
    )
    assert found["shared"].options == ModelOptions(placement="batched", batched_fair="strict")
    assert found["plain"].options == ModelConfig().options == ModelOptions()
