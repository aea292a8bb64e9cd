"""The bundled demo model: the file, and how it was made.

Rules: importing this package loads nothing heavy; ``MODEL_PATH`` is a plain file beside it.
Limits: training needs the extra ``[train]``, serving does not; see CARD.md.
"""

from __future__ import annotations

from pathlib import Path

MODEL_PATH = Path(__file__).with_name("demo.gguf")
