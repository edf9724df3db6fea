import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# What several folders of tests share lies here: cut, net, sip.
sys.path.insert(0, str(Path(__file__).parent))

# A machine may be busy, and an instrumented build is slow: how long an example takes says nothing. CI does the same
# each time: what is new is to be found by who looks for it, not by who changed something else.
settings.register_profile(
    "patient", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
