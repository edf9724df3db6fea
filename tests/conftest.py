import sys
from pathlib import Path

from hypothesis import settings

# What several folders of tests share lies here: cut, net, sip.
sys.path.insert(0, str(Path(__file__).parent))

# A machine may be busy, and an instrumented build is slow: how long an example takes says nothing.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
