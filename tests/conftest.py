"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A slow day must fail no test: what takes long is measured by benchmarks.
settings.register_profile("harness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")
