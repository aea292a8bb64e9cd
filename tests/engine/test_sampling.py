"""Every sampling key against a reference computed from the logits with numpy.

Draws are from fixed seeds, so a test either always passes or never does.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from infd.engine.context import LlamaContext
from infd.engine.model import Model
from infd.engine.sampling import Sampler, SamplingParams, draw_seed

Models = Callable[[str], Model]
Params = SamplingParams
PROMPT = [(i * 37 + 11) % 600 for i in range(40)]
DRAWS = 300


@pytest.fixture(scope="module")
def context(models: Models) -> Iterator[LlamaContext]:
    made = LlamaContext(models("bpe"), ctxsize=256, n_ubatch=64)
    made.decode(PROMPT, want_logits=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def logits(context: LlamaContext) -> np.ndarray:
    return np.array(context.logits())


@pytest.fixture(autouse=True)
def untouched(context: LlamaContext, logits: np.ndarray) -> None:
    # Penalties are applied where the logits lie: put back what an earlier test changed.
    if context.logits() != list(logits):
        context.keep_prefix(len(PROMPT) - 1)
        context.decode(PROMPT[-1:], want_logits=True)


def probabilities(logits: np.ndarray, temp: float = 1.0) -> np.ndarray:
    scaled = np.exp((logits - logits.max()) / temp)
    return scaled / scaled.sum()


def draws(context: LlamaContext, params: SamplingParams, n: int = DRAWS) -> Counter[int]:
    sampler = Sampler(context.model, params, seed=1)
    found = Counter(sampler.sample(context) for _ in range(n))
    sampler.close()
    return found


def once(context: LlamaContext, params: SamplingParams, history: list[int]) -> int:
    sampler = Sampler(context.model, params, seed=1)
    sampler.prime(history)
    token = sampler.sample(context)
    sampler.close()
    return token


def test_keys_merge_one_by_one() -> None:
    user = {"TOP_K": 40, "TEMP": 0.7, "REPEAT_LF": 0, "USERNAME": "ada", "MIN_P": None}
    run = {"TEMP": 0.0, "TOP_K": None, "min_p": 0.1}
    merged = SamplingParams.merged(user, run)
    assert merged == Params(top_k=40, temp=0.0, repeat_lf=0, min_p=0.1)  # type: ignore[arg-type]


def test_no_key_at_all_is_greedy(context: LlamaContext, logits: np.ndarray) -> None:
    assert set(draws(context, Params(), 5)) == {int(np.argmax(logits))}


@pytest.mark.parametrize(
    "key",
    [
        {"top_k": 40},
        {"top_p": 0.9},
        {"min_p": 0.1},
        {"typical_p": 0.9},
        {"mirostat_v2_tau": 5.0},
        {"mirostat_v2_eta": 0.1},
    ],
)
def test_temp_unset_draws_where_any_key_asks_for_it(key: dict[str, float]) -> None:
    assert Params(**key).temperature == 1.0  # type: ignore[arg-type]
    assert Params(**key, temp=0.0).temperature == 0.0  # type: ignore[arg-type]
    assert Params(repeat_penalty=1.2, repeat_n=5).temperature == 0.0


def test_temp_zero_is_greedy_whatever_else_is_set(
    context: LlamaContext, logits: np.ndarray
) -> None:
    params = Params(temp=0.0, top_k=50, min_p=0.01, mirostat_v2_tau=8.0)
    assert set(draws(context, params, 20)) == {int(np.argmax(logits))}


@pytest.mark.parametrize("temp", [0.5, 1.0, 3.0])
def test_temp_shapes_the_distribution(
    context: LlamaContext, logits: np.ndarray, temp: float
) -> None:
    n = 4000
    found = draws(context, Params(temp=temp), n)
    p = probabilities(logits, temp)
    for token in np.argsort(p)[-5:]:
        expected, spread = n * p[token], np.sqrt(n * p[token] * (1 - p[token]))
        assert abs(found[int(token)] - expected) < 4 * spread + 1


def test_top_k_keeps_the_k_likeliest(context: LlamaContext, logits: np.ndarray) -> None:
    allowed = {int(t) for t in np.argsort(logits)[-4:]}
    assert set(draws(context, Params(top_k=4, temp=5.0))) == allowed
    # 0 is off: at this temperature nearly everything is met.
    assert len(draws(context, Params(top_k=0, temp=50.0))) > 100


@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.7])
def test_top_p_keeps_the_least_set_that_reaches_p(
    context: LlamaContext, logits: np.ndarray, top_p: float
) -> None:
    p = probabilities(logits)
    order = np.argsort(p)[::-1]
    size = int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1
    allowed = {int(t) for t in order[:size]}
    # The temperature comes after the filter: a high one shows the whole set.
    assert set(draws(context, Params(top_p=top_p, temp=9.0), 40 * size)) == allowed


@pytest.mark.parametrize("min_p", [0.05, 0.3, 1.0])
def test_min_p_keeps_what_is_near_the_best(
    context: LlamaContext, logits: np.ndarray, min_p: float
) -> None:
    p = probabilities(logits)
    allowed = {int(t) for t in np.flatnonzero(p >= min_p * p.max() * (1 - 1e-6))}
    assert set(draws(context, Params(min_p=min_p, temp=9.0), 40 * len(allowed))) == allowed


@pytest.mark.parametrize("typical_p", [0.2, 0.6])
def test_typical_p_keeps_what_is_as_surprising_as_expected(
    context: LlamaContext, logits: np.ndarray, typical_p: float
) -> None:
    p = probabilities(logits)
    entropy = -(p * np.log(p)).sum()
    order = np.argsort(np.abs(-np.log(p) - entropy))
    size = int(np.searchsorted(np.cumsum(p[order]), typical_p, side="right")) + 1
    allowed = {int(t) for t in order[:size]}
    assert set(draws(context, Params(typical_p=typical_p, temp=9.0), 60 * size)) == allowed


def test_filters_come_in_the_contracts_order(context: LlamaContext, logits: np.ndarray) -> None:
    # top_k 3 first: top_p then reaches its share among three, not among all.
    best = np.argsort(logits)[::-1][:3]
    p = probabilities(logits[best])
    top_p = float(p[0] + p[1] / 2)
    everywhere = np.cumsum(np.sort(probabilities(logits))[::-1])
    assert int(np.searchsorted(everywhere, top_p)) + 1 != 2
    found = draws(context, Params(top_k=3, top_p=top_p, temp=9.0))
    assert set(found) == {int(t) for t in best[:2]}


@pytest.mark.parametrize("keys", [{"mirostat_v2_tau": 3.0}, {"mirostat_v2_eta": 0.4}])
def test_mirostat_follows_its_target(
    context: LlamaContext, logits: np.ndarray, keys: dict[str, float]
) -> None:
    tau, eta = keys.get("mirostat_v2_tau", 5.0), keys.get("mirostat_v2_eta", 0.1)
    p = np.sort(probabilities(logits))[::-1]
    order = np.argsort(logits)[::-1]
    # top_k 1 would leave one token; mirostat stands in place of the four filters.
    sampler = Sampler(context.model, Params(**keys, top_k=1), seed=7)  # type: ignore[arg-type]
    mu, met = 2 * tau, set()
    for _ in range(100):
        kept = max(1, int(np.searchsorted(-np.log2(p), mu, side="right")))
        token = sampler.sample(context)
        met.add(token)
        rank = int(np.flatnonzero(order == token)[0])
        assert rank < kept
        among = p[:kept] / p[:kept].sum()
        mu -= eta * (-np.log2(among[rank]) - tau)
    sampler.close()
    assert len(met) > 1


def penalised(
    logits: np.ndarray, window: list[int], repeat: float, present: float, frequency: float
) -> np.ndarray:
    out = logits.copy()
    for token, count in Counter(window).items():
        out[token] = out[token] * repeat if out[token] <= 0 else out[token] / repeat
        out[token] -= count * frequency + present
    return out


@pytest.mark.parametrize(
    ("repeat", "present", "frequency"),
    [(5.0, 0.0, 0.0), (1.0, 2.0, 0.0), (1.0, 0.0, 1.5), (1.3, 0.5, 0.5), (0.2, -2.0, -2.0)],
)
def test_penalties_are_llama_cpps(
    context: LlamaContext, logits: np.ndarray, repeat: float, present: float, frequency: float
) -> None:
    order = [int(t) for t in np.argsort(logits)[::-1]]
    history = [order[0], order[0], order[1], order[0], order[300], order[2]]
    params = Params(repeat_penalty=repeat, repeat_present=present, repeat_frequency=frequency)
    token = once(context, params, history)
    expected = penalised(logits, history, repeat, present, frequency)
    np.testing.assert_allclose(context.logits(), expected, atol=1e-4)
    assert token == int(np.argmax(expected))


def test_repeat_n_is_how_far_penalties_look_back(context: LlamaContext, logits: np.ndarray) -> None:
    best = int(np.argmax(logits))
    history = [best, 1, 2, 3]
    assert once(context, Params(repeat_n=3, repeat_present=2.0, temp=0), history) == best
    assert once(context, Params(repeat_n=4, repeat_present=2.0, temp=0), history) != best


def test_repeat_n_is_64_unless_set_and_0_is_off(context: LlamaContext, logits: np.ndarray) -> None:
    best = int(np.argmax(logits))
    assert once(context, Params(repeat_present=2.0), [best] + [1] * 64) == best
    assert once(context, Params(repeat_present=2.0, repeat_n=0), [best] * 9) == best
    assert once(context, Params(repeat_present=2.0), [best] + [1] * 63) != best


@pytest.mark.parametrize("flag", ["repeat_lf", "repeat_eot"])
def test_newline_and_end_tokens_can_be_exempt(
    context: LlamaContext, logits: np.ndarray, flag: str
) -> None:
    model = context.model
    token = next(iter(model.newline_tokens if flag == "repeat_lf" else model.end_tokens))
    other = 77

    def after(value: bool | None) -> tuple[float, float]:
        context.keep_prefix(len(PROMPT) - 1)
        context.decode(PROMPT[-1:], want_logits=True)
        once(context, Params(repeat_present=1.0, **{flag: value}), [token, other])  # type: ignore[arg-type]
        changed = np.array(context.logits()) - logits
        return round(float(changed[token]), 3), round(float(changed[other]), 3)

    assert after(True) == (-1.0, -1.0)
    assert after(False) == (0.0, -1.0)
    # Unset, newlines are penalised and end tokens are not.
    assert after(None) == ((-1.0, -1.0) if flag == "repeat_lf" else (0.0, -1.0))


def test_the_window_moves_with_accepted_tokens(context: LlamaContext, logits: np.ndarray) -> None:
    best = int(np.argmax(logits))
    sampler = Sampler(context.model, Params(repeat_present=3.0, repeat_n=2), seed=1)
    assert sampler.needs_history
    sampler.prime([1, 2])
    assert sampler.sample(context) == best
    sampler.accept(best)
    assert sampler.sample(context) != best
    sampler.close()
    sampler.close()


def test_a_seed_repeats_its_draws(context: LlamaContext) -> None:
    def run(seed: int) -> list[int]:
        sampler = Sampler(context.model, Params(temp=2.0), seed)
        tokens = [sampler.sample_from(context)() for _ in range(20)]
        sampler.close()
        return tokens

    assert run(5) == run(5) != run(6)
    # llama.cpp would draw a seed of its own for this one.
    assert run(2**32 - 1) == run(2**32 - 1)
    assert len({draw_seed() for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "keys",
    [
        {"temp": 1e-45},
        {"temp": 3e38},
        {"repeat_penalty": 1e-45, "temp": 1.0},
        {"repeat_penalty": 3e38, "temp": 1.0},
        {"mirostat_v2_tau": 3e38},
        {"mirostat_v2_eta": 3e38},
        {"mirostat_v2_tau": 1e-45, "mirostat_v2_eta": 1e-45},
        {"top_k": 2**32 - 1},
        {"top_p": 0.0, "typical_p": 0.0, "min_p": 1.0},
        {"repeat_n": 2**32 - 1, "repeat_frequency": 2.0},
    ],
)
def test_extreme_values_still_give_tokens(context: LlamaContext, keys: dict[str, float]) -> None:
    sampler = Sampler(context.model, Params(**keys), seed=3)  # type: ignore[arg-type]
    sampler.prime(PROMPT)
    for _ in range(10):
        token = sampler.sample(context)
        assert 0 <= token < context.model.info.n_vocab
        sampler.accept(token)
    sampler.close()


def test_every_key_of_the_contract_is_here() -> None:
    assert [f.name for f in dataclasses.fields(Params)] == [
        "top_k",
        "top_p",
        "min_p",
        "typical_p",
        "temp",
        "repeat_n",
        "repeat_penalty",
        "repeat_present",
        "repeat_frequency",
        "repeat_lf",
        "repeat_eot",
        "mirostat_v2_tau",
        "mirostat_v2_eta",
    ]


def test_sampling_without_logits_is_refused(models: Models) -> None:
    fresh = LlamaContext(models("bpe"), ctxsize=64, n_ubatch=64)
    sampler = Sampler(fresh.model, Params(), seed=1)
    for prepare in (
        lambda: None,
        lambda: fresh.decode(PROMPT[:9], want_logits=False),
        lambda: (fresh.decode(PROMPT[9:12], want_logits=True), fresh.keep_prefix(3)),
        fresh.clear,
    ):
        prepare()
        with pytest.raises(ValueError, match="no logits"):
            sampler.sample(fresh)
    sampler.close()
    fresh.close()
