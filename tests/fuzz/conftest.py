"""Lets the tests import the fuzzer's own modules, which lie in this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
