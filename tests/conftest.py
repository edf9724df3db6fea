import sys
from pathlib import Path

# What several folders of tests share lies here: cut, net, sip.
sys.path.insert(0, str(Path(__file__).parent))
