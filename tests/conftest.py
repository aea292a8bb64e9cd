"""What every test has: hypothesis without deadlines, and the support package on the path."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "infd", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("infd")
