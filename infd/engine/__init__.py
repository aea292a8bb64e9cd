"""llama.cpp under infd: model files, contexts, sampling, chat templates, the worker thread.

This file imports nothing: `python -m infd.engine.renderer` must start without llama.cpp.
Everything that llama.cpp can be made to do goes through `infd.engine.library`.
"""
