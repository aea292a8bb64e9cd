"""`python tests/bench/compare`, from the repository's root."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# In place of this folder, whose names are not meant to be found by themselves.
sys.path[0] = str(ROOT / "tests")
sys.path[1:1] = [str(ROOT), str(ROOT / "protocol"), str(ROOT / "clients")]

from bench.compare.cli import main  # noqa: E402

sys.exit(main())
