"""Run by `test_failing_disk.py` in mount and user namespaces of its own, where it may mount a small file system.

python failing_disk.py full|readonly SPACE UNDISTURBED MOUNT_POINT
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from sweeping import assert_same_results, read_status, start_sweep, sweep, wait_until

from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

OPTIONS = ("--checkpoint-every", "0.2", "--no-progress")


def mount(*arguments: str) -> int:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode


def blocks(folder: Path) -> int:
    """Kilobytes that the files of a folder take in blocks of 4."""
    return sum(-(-path.stat().st_size // 4096) * 4 for path in folder.rglob("*") if path.is_file())


def main() -> None:
    what, space, undisturbed, point = sys.argv[1], *(Path(argument) for argument in sys.argv[2:])
    out = point / "out"
    room = 0.6 * sum(blocks(undisturbed / folder) for folder in ("tasks", "cells", "states")) + 80
    size = f"{room:.0f}k" if what == "full" else "100m"
    assert mount("-t", "tmpfs", "-o", f"size={size}", "none", str(point)) == 0, "cannot mount"
    process = start_sweep(space, out, *OPTIONS)
    if what == "readonly":
        wait_until(Store(out).committed, process)
        deadline = time.monotonic() + 20
        while mount("-o", "remount,ro", str(point)) != 0:  # busy, as long as a file is open for writing
            assert time.monotonic() < deadline
            time.sleep(0.02)
    _, stderr = process.communicate(timeout=200)
    lines = [line for line in stderr.splitlines() if line.startswith("lop-sweep: ")]
    print(process.returncode, lines[-1] if lines else stderr)
    before = read_status(out)
    assert 0 < before["finished"] + before["diverged"] < 16, before
    findings = [str(finding) for finding in audit(Store(out)).findings]
    # Cells are missing, and the disk may have been full between the two files of a pack; nothing else.
    others = [finding for finding in findings if "belongs to no finished pack" not in finding]
    assert len(others) == 1, findings
    assert "cells are not there" in others[0], findings
    assert mount("-o", "remount,rw,size=100m", str(point)) == 0
    again = sweep(space, out, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert_same_results(out, undisturbed)
    assert audit(Store(out)).findings == []


if __name__ == "__main__":
    main()
