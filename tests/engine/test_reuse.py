"""Runs that begin with a kept prefix say what they would say without; and users share none."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import pytest
from support.worker_bench import Bench

from infd.engine.context import Decoded, LlamaContext
from infd.engine.heads import Heads
from infd.engine.model import Model
from infd.engine.prefixes import Prefixes, Shelf
from infd.engine.prompt import build_prompt
from infd.engine.reuse import Reuse
from infd.engine.snapshot import Snapshot, SnapshotError
from infd.engine.templates import Renderer
from infd.engine.worker import RunRequest

SYSTEM = "You are Ada. Please answer each question of the user with a word and a number. " * 6
Getter = Callable[[str], Renderer]


def shelf_of(prefixes: Prefixes, user: str = "ada") -> Shelf:
    shelf = prefixes.shelf(user, "m")
    assert shelf is not None
    return shelf


def asking(said: str, system: str = SYSTEM, most: int = 24) -> RunRequest:
    return RunRequest((("system", system), ("user", said)), max_tokens=most)


@pytest.mark.parametrize(
    "kind", ["bpe", "spm", "quantised", "recurrent", "sliding", "refuses-system", "demo"]
)
async def test_a_new_context_begins_with_the_system_prompt_that_another_computed(
    bench: Bench, kind: str
) -> None:
    shelf = shelf_of(Prefixes(10**9))
    first = await bench.worker(kind, ctxsize=2048, shelf=shelf)
    before = await bench.reply(first, asking("hello there"))
    assert before.finished.tokens_cached == 0
    plain = await bench.worker(kind, ctxsize=2048)
    second = await bench.worker(kind, ctxsize=2048, shelf=shelf)
    for worker in (second, first):
        # A new context, and one whose history was cleared.
        await worker.clear()
        said = "count the green words" if worker is second else "what is infd?"
        reply = await bench.reply(worker, asking(said))
        prepared = await worker.prepare(asking(said))
        assert reply.finished.tokens_cached == prepared.head > 64
        # The head is the system message and what is around it, not the user's.
        assert prepared.head >= reply.finished.tokens_in - 40
        if kind == "demo":
            # Random weights have near ties, which rounding decides by how a prompt was cut.
            await plain.clear()
            assert reply.text == (await bench.reply(plain, asking(said))).text


@pytest.mark.parametrize("kind", ["bpe", "recurrent", "sliding", "demo"])
async def test_the_same_cut_gives_the_same_reply(bench: Bench, kind: str) -> None:
    """Against a run that computes the head itself and stops at it: not a token may differ."""
    said = asking("is the number blue?", most=60)
    replies = []
    for _ in range(2):
        shelf = shelf_of(Prefixes(10**9))
        worker = await bench.worker(kind, ctxsize=2048, shelf=shelf)
        replies.append(await bench.reply(worker, said))
        other = await bench.worker(kind, ctxsize=2048, shelf=shelf)
        replies.append(await bench.reply(other, said))
    assert [reply.finished.tokens_cached > 0 for reply in replies] == [False, True, False, True]
    assert len({reply.text for reply in replies}) == 1


async def test_users_share_nothing(bench: Bench) -> None:
    prefixes = Prefixes(10**9)
    for user in ("ada", "bob"):
        for expected in (False, True):
            worker = await bench.worker("demo", ctxsize=2048, shelf=shelf_of(prefixes, user))
            reply = await bench.reply(worker, asking("hello"))
            assert (reply.finished.tokens_cached > 0) == expected


async def test_a_common_beginning_is_kept_without_a_system_message(bench: Bench) -> None:
    shelf = shelf_of(Prefixes(10**9))
    cached = []
    for said in ("one", "green", "Ada"):
        worker = await bench.worker("demo", ctxsize=2048, shelf=shelf)
        reply = await bench.reply(worker, RunRequest((("user", SYSTEM + said),), max_tokens=8))
        cached.append(reply.finished.tokens_cached)
    # The second found where it parts from the first; the third began there.
    assert cached[:2] == [0, 0]
    assert cached[2] >= 64


async def test_another_system_prompt_finds_nothing_of_the_old(bench: Bench) -> None:
    shelf = shelf_of(Prefixes(10**9))
    worker = await bench.worker("demo", ctxsize=2048, shelf=shelf)
    await bench.reply(worker, asking("hello"))
    changed = "Never mind. " + SYSTEM
    await worker.clear()
    assert (await bench.reply(worker, asking("hello", changed))).finished.tokens_cached == 0
    await worker.clear()
    again = await bench.reply(worker, asking("hello", changed))
    assert again.finished.tokens_cached == (await worker.prepare(asking("x", changed))).head


async def test_in_a_conversation_the_context_itself_is_gone_on_with(bench: Bench) -> None:
    prefixes = Prefixes(10**9)
    shelf = shelf_of(prefixes)
    worker = await bench.worker("demo", ctxsize=2048, shelf=shelf)
    one = await bench.reply(worker, asking("hello"))
    kept = prefixes.size
    history = (*asking("hello").messages, ("assistant", one.text), ("user", "and now?"))
    two = await bench.reply(worker, RunRequest(history, max_tokens=8))
    assert two.finished.tokens_cached >= one.finished.tokens_in
    assert prefixes.size == kept


async def test_a_run_goes_on_without_what_cannot_be_copied(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelf_of(Prefixes(10**9))

    def refused(*_: object, **__: object) -> Snapshot:
        raise SnapshotError("no copy today")

    with monkeypatch.context() as patch:
        patch.setattr("infd.engine.context.take", refused)
        patch.setattr("infd.engine.instance.take", refused)
        worker = await bench.worker("demo", ctxsize=2048, shelf=shelf)
        first = await bench.reply(worker, asking("hello"))
    assert shelf.size == 0
    await worker.clear()
    assert (await bench.reply(worker, asking("hello"))).text == first.text
    assert shelf.size > 0
    # And one that llama.cpp refuses is computed again.
    for kept in shelf._kept:
        del kept.snapshot.data[len(kept.snapshot.data) // 2 :]
    await worker.clear()
    third = await bench.reply(worker, asking("hello"))
    assert (third.text, third.finished.tokens_cached) == (first.text, 0)


def test_a_longer_prefix_than_the_context_holds_takes_its_place(
    models: Callable[[str], Model],
) -> None:
    prompt = [(i * 37 + 11) % 500 for i in range(300)]
    shelf = shelf_of(Prefixes(10**9))
    context = LlamaContext(models("bpe"), ctxsize=512, n_ubatch=32)
    for n in (200, 100):
        context.clear()
        assert context.decode(prompt[:n], want_logits=False) is Decoded.OK
        if n == 200:
            shelf.put(context.layout, context.snapshot())
    assert Reuse(context, None, prompt).cached == 100
    assert Reuse(context, shelf, prompt[:110]).cached == 100
    reuse = Reuse(context, shelf, prompt, head=250)
    assert reuse.cached == 200 == len(context.tokens)
    assert (reuse.until(200, 240), reuse.until(200, 300), reuse.until(250, 300)) == (240, 250, 300)
    context.decode(prompt[200:250], want_logits=False)
    reuse.passed(250)
    found = shelf.find(context.layout, array("i", prompt), beyond=0)
    assert found is not None
    assert list(found.tokens) == prompt[:250]
    context.close()


@pytest.mark.parametrize("kind", ["bpe", "spm", "refuses-system", "demo"])
def test_the_head_is_where_conversations_part(
    models: Callable[[str], Model], renderers: Getter, kind: str
) -> None:
    model, renderer, heads = models(kind), renderers(kind), Heads()
    messages = [("system", SYSTEM), ("user", "hello")]
    prompt = build_prompt(model, renderer, messages)
    head = heads.length(model, renderer, messages, prompt)
    text = b"".join(model.piece(token, special=True) for token in prompt[:head]).decode()
    assert SYSTEM.strip() in text
    assert "hello" not in text
    other = build_prompt(model, renderer, [("system", SYSTEM), ("user", "Ada")])
    assert other[:head] == prompt[:head]
    # Without one it is what the template puts before the user's message.
    for said in ("hello", "Ada", "0"):
        alone = [("user", said)]
        prompt = build_prompt(model, renderer, alone)
        head = heads.length(model, renderer, alone, prompt)
        text = b"".join(model.piece(token, special=True) for token in prompt[:head]).decode()
        assert said not in text
        # A tokenizer may put a space before the first word.
        assert "".join(renderer.render(alone).split()).startswith("".join(text.split()))
    for begins in ([], [("assistant", "hello")]):
        assert heads.length(model, renderer, begins, prompt) == 0


def test_a_template_that_changes_its_mind_is_looked_at_again(
    models: Callable[[str], Model], renderers: Getter, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, renderer, heads = models("demo"), renderers("demo"), Heads()
    messages = [("system", SYSTEM), ("user", "hello")]

    def length() -> int:
        prompt = build_prompt(model, renderer, messages)
        return heads.length(model, renderer, messages, prompt)

    plain = length()
    original = renderer.render
    rendered: list[int] = []

    def dated(said: object) -> str:
        rendered.append(1)
        return "Monday, " * 9 + original(said)  # type: ignore[arg-type]

    monkeypatch.setattr(renderer, "render", dated)
    assert length() > plain
    # The prompt once and again with marks at most; the head's two prompts no more.
    asked = len(rendered)
    length()
    assert len(rendered) - asked < asked
    monkeypatch.setattr(renderer, "render", lambda said: f"{len(said)}x " + original(said))
    with_number = [*messages, ("assistant", "a"), ("user", "b")]
    prompt = build_prompt(model, renderer, with_number)
    assert heads.length(model, renderer, with_number, prompt) == 0
