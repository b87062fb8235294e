"""Imported by every Python whose PYTHONPATH begins here: `time.time` is ahead by the seconds that a file holds.

As when a machine's clock is set while processes run: what they measure by other clocks goes on as before.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

real = time.time
ahead = Path(os.environ["AHEAD"])
time.time = lambda: real() + float(ahead.read_text())
