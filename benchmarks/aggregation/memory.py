"""Peak extra memory of one rule, in a fresh process: `python -m benchmarks.aggregation.memory RULE N D F`."""

import subprocess
import sys
from pathlib import Path

import torch

from flower_robust.aggregation import rule_from_text

STATUS = Path("/proc/self/status")


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure(text: str, n: int, d: int, f: int) -> float:
    """The rise of the resident peak during one call, as a share of the updates' bytes."""
    torch.set_num_threads(2)
    rule = rule_from_text(text, f)
    rule(torch.randn(n, 5000))  # what is loaded and compiled once is not the rule's
    updates = torch.randn(n, d)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident("VmRSS")
    rule(updates)
    return (resident("VmHWM") - before) / (updates.numel() * updates.element_size())


def in_fresh_process(text: str, n: int, d: int, f: int) -> float | None:
    """`measure` in a process of its own; None where /proc does not tell (not Linux)."""
    if not STATUS.exists():
        return None
    command = [sys.executable, "-m", "benchmarks.aggregation.memory", text, str(n), str(d), str(f)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    print(measure(sys.argv[1], *(int(number) for number in sys.argv[2:5])))
