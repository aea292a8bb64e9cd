"""Chat templates in their helper process: what they may do, and what becomes of the rest."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gguf_factory import CHATML, bpe, write_llama

from infd.engine.errors import TemplateError, TemplateRefused
from infd.engine.model import Model
from infd.engine.templates import Renderer

Make = Callable[[str], Renderer]
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HELLO = [("user", "hello")]


@pytest.fixture
def with_template(tmp_path: Path) -> Iterator[Make]:
    made: list[tuple[Renderer, Model]] = []

    def make(source: str) -> Renderer:
        path = write_llama(tmp_path / f"{len(made)}.gguf", bpe(), template=source)
        model = Model.load(path)
        made.append((Renderer(model), model))
        return made[-1][0]

    yield make
    for renderer, model in made:
        renderer.close()
        renderer.close()
        model.close()


def helper(renderer: Renderer) -> int:
    assert renderer._helper is not None
    return renderer._helper._process.pid


def test_a_template_sees_what_templates_expect(with_template: Make) -> None:
    renderer = with_template(
        "{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}|{{ messages | tojson }}|"
        "{{ strftime_now('%Y') | int > 2000 }}|"
        "{% for m in messages %}\n    {% if loop.index > 1 %}{% break %}{% endif %}\n{{ m.role }}"
        "{% endfor %}\n|{{ tools }}|{{ '<é>' | tojson }}"
    )
    assert renderer.render([("user", "a<b"), ("assistant", "é")]) == (
        "<|endoftext|>|<|im_end|>|True|"
        '[{"role": "user", "content": "a<b"}, {"role": "assistant", "content": "é"}]|True|'
        'user|None|"<é>"'
    )


def test_the_generation_tag_is_only_text(with_template: Make) -> None:
    renderer = with_template(
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}!"
    )
    renderer.start()
    first = helper(renderer)
    assert renderer.render([("user", "a"), ("assistant", "b")]) == "ab!"
    assert helper(renderer) == first


def test_text_of_every_kind_comes_through_the_pipe(with_template: Make) -> None:
    renderer = with_template("{{ messages[0].content }}")
    for text in ("", "\0\n\r\t", "€😀\ue000", "x" * 3_000_000):
        assert renderer.render([("user", text)]) == text


def test_raise_exception_says_the_templates_words(with_template: Make) -> None:
    renderer = with_template("{{ raise_exception('Only one\n message, please') }}")
    with pytest.raises(
        TemplateRefused, match=r"fails on these messages: Only one message, please$"
    ):
        renderer.render(HELLO)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% for x in %}", "line 1: "),
        ("{{ messages[5]['content'] }}", "no element 5"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ messages.append(1) }}", "safe"),
        ("{% for a in range(10**9) %}{% endfor %}", "[Rr]ange"),
        ("{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "more than 16 MiB"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too deep|recursion"),
        ("{{ 'x' * (10 ** 10) }}", "too much memory|helper process"),
        ("{{ messages[0].content.encode('utf-8').decode('utf-16', 'surrogatepass') }}", "."),
    ],
)
def test_what_a_template_may_not_do_is_an_error(
    with_template: Make, source: str, words: str
) -> None:
    renderer = with_template(source)
    for _ in range(2):
        with pytest.raises(TemplateError, match=words) as caught:
            renderer.render(HELLO)
        assert "\n" not in str(caught.value)


def test_one_that_takes_too_long_is_killed_and_the_next_starts_anew(with_template: Make) -> None:
    renderer = with_template(
        "{% if messages[0].content == 'loop' %}{% for a in range(99999) %}"
        "{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}fine"
    )
    assert renderer.render(HELLO) == "fine"
    first = helper(renderer)
    with pytest.raises(TemplateError, match="takes longer than 1 s") as caught:
        renderer.render([("user", "loop")])
    assert not isinstance(caught.value, TemplateRefused)
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert renderer.render(HELLO) == "fine"
    assert helper(renderer) != first


def test_a_helper_that_was_killed_is_replaced_unnoticed(with_template: Make) -> None:
    renderer = with_template(CHATML)
    expected = renderer.render(HELLO)
    first = helper(renderer)
    os.kill(first, signal.SIGKILL)
    assert renderer.render(HELLO) == expected
    assert helper(renderer) != first


def test_without_a_descriptor_left_it_says_so_and_goes_on_later(with_template: Make) -> None:
    renderer = with_template(CHATML)
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(TemplateError, match="Too many open files"):
            renderer.render(HELLO)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert renderer.render(HELLO)


def test_the_helper_knows_nothing_of_our_environment(
    with_template: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFD_TOKEN", "secret")
    renderer = with_template(CHATML)
    renderer.render(HELLO)
    environ = Path(f"/proc/{helper(renderer)}/environ").read_text()
    assert "PYTHONPATH" in environ
    assert "secret" not in environ


def test_the_helper_ends_with_its_renderer(with_template: Make) -> None:
    renderer = with_template(CHATML)
    renderer.render(HELLO)
    pid = helper(renderer)
    renderer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(TemplateError, match="being unloaded"):
        renderer.render(HELLO)


def test_closing_does_not_wait_for_a_rendering(with_template: Make) -> None:
    renderer = with_template(ENDLESS)
    renderer.start()
    said: list[str] = []

    def render() -> None:
        try:
            renderer.render(HELLO)
        except TemplateError as error:
            said.append(str(error))

    thread = threading.Thread(target=render)
    thread.start()
    renderer.close()
    thread.join()
    # Killed before or in the rendering; in neither case did it take its second to time out.
    assert said
    assert "longer" not in said[0]


def test_without_a_template_chatml_or_lines(renderers: Make) -> None:
    messages = [("system", "Be brief."), ("user", "hello")]
    assert renderers("chatml-tokens").render(messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert renderers("no-template").render(messages) == "Be brief.\nhello"
    assert renderers("no-template")._helper is None
