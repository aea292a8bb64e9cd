"""Failures of commands, in words for people."""

from __future__ import annotations

BUILD_FLAGS = 'CXXFLAGS="-fno-dse -fno-tree-dse" CMAKE_ARGS="-DGGML_OPENMP=OFF"'
"""With these llama.cpp computes right, and at full speed, on worker threads."""
INSTALL = f"{BUILD_FLAGS} pip install '.[server]'"
"""The command, in infd's folder, that installs what the daemon needs."""


class CommandError(Exception):
    """What is wrong and what to do, in one line; `status` is the command's exit status."""

    status = 1


class UsageError(CommandError):
    """The command line cannot be meant so."""

    status = 2
