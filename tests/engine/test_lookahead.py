"""Replies made with guesses are the plain loop's, in fewer calls, and end where they should.

llama.cpp rounds differently for several tokens than for one: greedy tokens must be the same
wherever the two best logits differ by more than 0.05.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from support.gguf_factory import make
from support.worker_bench import HELLO, Bench, Gate, held

from infd.engine import delivery, lookahead
from infd.engine.context import Decoded, LlamaContext
from infd.engine.generation import Engine
from infd.engine.library import lib
from infd.engine.lookahead import LookAhead
from infd.engine.model import Model
from infd.engine.options import ModelOptions
from infd.engine.plain import PlainLoop
from infd.engine.sampling import SamplingParams
from infd.engine.templates import Renderer
from infd.engine.worker import Aborted, RunRequest, Text, Worker

MOST = 8
TIE = 0.05
AGAIN = (("user", "Repeat: the sun is up. Repeat: the sun is up. Repeat: the sun is up."),)
PROMPTS = (
    HELLO,
    AGAIN,
    (("user", "count " * 40),),
    (("user", "name blue name blue green Ada name blue name blue green Ada name blue"),),
)


@pytest.fixture(scope="module")
def ahead_models(folder: Path) -> Iterator[Callable[[str], Model]]:
    loaded: dict[str, Model] = {}

    def get(kind: str) -> Model:
        if kind not in loaded:
            loaded[kind] = Model.load(make(folder, kind), options=ModelOptions(lookup=MOST))
        return loaded[kind]

    yield get
    for model in loaded.values():
        model.close()


@pytest.fixture
async def ahead(
    ahead_models: Callable[[str], Model], renderers: Callable[[str], Renderer]
) -> AsyncIterator[Bench]:
    bench = Bench(ahead_models, renderers)
    yield bench
    await asyncio.gather(*(worker.close() for worker in bench.workers))
    assert bench.scheduler.in_use == 0


def looking(worker: Worker) -> LookAhead:
    engine = worker._engine
    assert isinstance(engine, Engine)
    assert engine.look_ahead is not None
    return engine.look_ahead


def gap(model: Model, tokens: list[int]) -> float:
    """By how much the best logit after `tokens` is above the second."""
    context = LlamaContext(model, ctxsize=512, n_ubatch=512)
    try:
        assert context.decode(tokens, want_logits=True) is Decoded.OK
        second, first = sorted(context.logits())[-2:]
        return first - second
    finally:
        context.close()


@pytest.mark.parametrize("prompt", PROMPTS, ids=("hello", "again", "count", "names"))
@pytest.mark.parametrize("kind", ["bpe", "spm", "quantised", "sliding", "demo"])
async def test_greedy_is_the_plain_loop(
    ahead: Bench, models: Callable[[str], Model], kind: str, prompt: tuple[tuple[str, str], ...]
) -> None:
    worker = await ahead.worker(kind)
    request = RunRequest(prompt, max_tokens=150)
    tokens = (await worker.prepare(request)).tokens
    reply = await ahead.reply(worker, request)
    loop = PlainLoop(models(kind), n_ctx=512)
    try:
        plain = loop.run(tokens, 150).tokens
    finally:
        loop.close()
    made = held(worker)[len(tokens) :]
    differs = [at for at, (a, b) in enumerate(zip(made, plain, strict=False)) if a != b]
    if differs:
        assert gap(models(kind), tokens + plain[: differs[0]]) <= TIE
    else:
        assert reply.finished.tokens_out == len(plain)
        pieces = models(kind).pieces
        assert reply.text == b"".join(pieces[t] for t in plain).decode("utf-8", "replace")
    assert reply.finished.tokens_out == reply.tokens


async def test_what_comes_again_takes_fewer_calls_than_tokens(ahead: Bench) -> None:
    worker = await ahead.worker("demo")
    request = RunRequest((("user", "Count from 1 to 40."),), max_tokens=200)
    first = await ahead.reply(worker, request)
    looked = looking(worker)
    assert looked.pace.drafted > 0
    # The same question once more: the whole reply stands in the context already.
    again = (("user", "Count from 1 to 40."), ("assistant", first.text))
    second = await ahead.reply(
        worker, RunRequest((*again, ("user", "Count from 1 to 40.")), max_tokens=200)
    )
    assert second.finished.tokens_cached > 0
    assert looked.pace.accepted > second.finished.tokens_out / 2
    assert looked.calls < second.finished.tokens_out / 2
    await worker.clear()
    assert looked._index.tokens == []


@pytest.mark.parametrize("strict", [False, True], ids=["plain", "penalties"])
async def test_a_seed_draws_what_it_draws_without_guesses(
    ahead: Bench, models: Callable[[str], Model], renderers: Callable[[str], Renderer], strict: bool
) -> None:
    # In 32 bits a batch differs in the last digits only; these seeds meet no such place.
    params = SamplingParams(
        temp=0.6, top_k=10, repeat_penalty=1.05 if strict else None, repeat_n=20
    )
    plain = Bench(models, renderers)
    one, other = await ahead.worker("bpe"), await plain.worker("bpe")
    drafted = 0
    try:
        for seed in range(4):
            request = RunRequest(AGAIN, params, seed=seed, max_tokens=120)
            texts = {(await b.reply(w, request)).text for b, w in ((ahead, one), (plain, other))}
            assert len(texts) == 1
            drafted += looking(one).pace.drafted
    finally:
        await other.close()
    assert drafted > 0


async def test_the_length_is_exact(ahead: Bench) -> None:
    worker = await ahead.worker("bpe", ctxsize=128)
    full = await ahead.reply(worker, RunRequest(AGAIN))
    assert full.finished.reason == "length"
    assert full.finished.tokens_in + full.finished.tokens_out == 128
    assert looking(worker).pace.accepted > 0
    for most in range(12):
        few = await ahead.reply(worker, RunRequest(AGAIN, max_tokens=most))
        assert (few.finished.reason, few.finished.tokens_out) == ("length", most)
        assert full.text.startswith(few.text)
        # Nothing that was only guessed is held.
        assert worker.tokens_used <= few.finished.tokens_in + most


async def test_stop_strings_and_end_tokens_among_guesses(ahead: Bench) -> None:
    worker = await ahead.worker("bpe")
    whole = (await ahead.reply(worker, RunRequest(AGAIN, max_tokens=100))).text
    for start in range(0, len(whole) - 6, 5):
        stop = whole[start : start + 6]
        reply = await ahead.reply(worker, RunRequest(AGAIN, max_tokens=100, stop=(stop,)))
        assert reply.finished.reason == "stop_sequence"
        assert reply.text == whole[: whole.index(stop)]
    demo = await ahead.worker("demo")
    talk: list[tuple[str, str]] = []
    for _ in range(3):
        talk.append(("user", "What is infd?"))
        reply = await ahead.reply(demo, RunRequest(tuple(talk)))
        assert reply.finished.reason == "stop"
        assert "<|im_end|>" not in reply.text
        talk.append(("assistant", reply.text))
    # The end was guessed too, and is not held as part of the reply.
    assert looking(demo).pace.accepted > 0
    end = ahead.models("demo").end_tokens
    assert held(demo)[-1] not in end


@pytest.mark.parametrize("aborted", [False, True], ids=["ended", "aborted"])
async def test_an_end_from_outside(
    ahead: Bench, monkeypatch: pytest.MonkeyPatch, aborted: bool
) -> None:
    worker = await ahead.worker("bpe")
    whole = await ahead.reply(worker, RunRequest(AGAIN, max_tokens=100))
    calls = looking(worker).calls
    await worker.clear()
    gate = Gate(monkeypatch, "decode_rows", 3)
    reply = await ahead.start(worker, RunRequest(AGAIN, max_tokens=100))
    await gate.reached.wait()
    if aborted:
        worker.abort()
    else:
        worker.end()
    gate.open()
    await reply.ended.wait()
    if aborted:
        assert isinstance(reply.end, Aborted)
    else:
        assert reply.finished.reason == "cancelled"
        assert whole.text.startswith(reply.text)
        assert worker.tokens_used <= reply.finished.tokens_in + reply.finished.tokens_out
    assert looking(worker).calls < calls
    monkeypatch.undo()
    again = await ahead.reply(worker, RunRequest(AGAIN, max_tokens=100))
    assert again.text == whole.text


async def test_a_reply_far_ahead_of_its_reader_is_background_work(
    ahead: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await ahead.worker("bpe", run_ahead=10)
    engine = worker._engine
    assert isinstance(engine, Engine)
    asked: list[tuple[int, bool]] = []
    renew = engine.turn.renew

    class Turn:
        held = 0

        def renew(self, want: int, background: bool = False) -> int:
            asked.append((engine.made_tokens, background))
            return renew(want, background)

        def __getattr__(self, name: str) -> object:
            return getattr(turn, name)

    turn = engine.turn
    monkeypatch.setattr(engine, "turn", Turn())
    reply = await ahead.start(worker, RunRequest(AGAIN, max_tokens=80), read=False)
    await reply.ended.wait()
    assert reply.finished.tokens_out == 80
    assert all(background is (made > 10) for made, background in asked)
    # One turn a call, not one a token.
    assert len(asked) <= looking(worker).calls + 2


async def test_recurrent_models_are_not_looked_ahead(
    ahead: Bench, models: Callable[[str], Model]
) -> None:
    assert ahead.models("recurrent").lookup == 0
    worker = await ahead.worker("recurrent")
    engine = worker._engine
    assert isinstance(engine, Engine)
    assert engine.look_ahead is None
    reply = await ahead.reply(worker, RunRequest(HELLO, max_tokens=20))
    assert reply.finished.tokens_out == 20


def test_logits_of_every_row_are_those_of_one_after_the_other(
    models: Callable[[str], Model],
) -> None:
    model = models("bpe")
    tokens = list(range(60, 75))
    context = LlamaContext(model, ctxsize=64, n_ubatch=64)
    try:
        alone = []
        for token in tokens:
            assert context.decode_one(token) is None
            alone.append(context.logits())
        context.clear()
        assert context.decode(tokens[:4], want_logits=False) is Decoded.OK
        assert context.decode_rows(tokens[4:], 9) is Decoded.OK
        assert context.tokens == tokens
        n = model.info.n_vocab
        for row in range(2, 11):
            got = list(lib.llama_get_logits_ith(context.pointer, row)[:n])
            assert got == pytest.approx(alone[4 + row], abs=2e-2)
        for rows in (0, 12, 40):
            with pytest.raises(ValueError):
                context.decode_rows(tokens[4:], rows)
    finally:
        context.close()


async def test_a_slow_models_tokens_of_one_call_are_not_held_back(
    ahead: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every call counts as long, and nothing else sends: what goes out was sent before a call.
    monkeypatch.setattr(lookahead, "SLOW_STEP", 0.0)
    monkeypatch.setattr(delivery, "SLOW_STEP", 1e12)
    monkeypatch.setattr(delivery, "GATHER", 1e12)
    worker = await ahead.worker("demo")
    asked = ("user", "Count from 1 to 40.")
    first = await ahead.reply(worker, RunRequest((asked,)))
    reply = await ahead.reply(worker, RunRequest((asked, ("assistant", first.text), asked)))
    texts = [event for event in reply.events if isinstance(event, Text)]
    looked = looking(worker)
    assert looked.pace.accepted > 0
    # The text of the last call, if it is not the end token alone, goes out with the end.
    assert looked.calls - 1 <= len(texts) <= looked.calls
    assert max(event.tokens for event in texts) <= MOST + 2
