"""What can go wrong in the engine, in words for people.

Each error's text is one sentence that says what is wrong; the daemon puts it in DETAIL as it is.
The engine knows no codes of the protocol: its callers choose them.
"""

from __future__ import annotations


class EngineError(Exception):
    """The base of everything that the engine refuses."""


class ModelFileError(EngineError):
    """A file that cannot be read, is no GGUF, or that llama.cpp does not take."""


class ContextError(EngineError):
    """llama.cpp made no context: no memory, or a model that has none."""


class TemplateError(EngineError):
    """The model's chat template fails on these messages (its own words), or takes too long."""


class TemplateRefused(TemplateError):
    """The template itself said no to these messages; to others it may say yes."""


class TokenizeError(EngineError):
    """The model has no tokenizer, or it cannot express this text."""
