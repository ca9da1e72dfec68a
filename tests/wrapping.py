"""Applies the diffs of docs/wrap.md to the stock app, so that what the page shows is what runs."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
STOCK = ROOT / "tests/e2e/stock_app"


def diffs() -> list[tuple[str, str]]:
    """File and diff of each fenced block, in the page's order."""
    page = (ROOT / "docs/wrap.md").read_text()
    return re.findall(r"```diff\n--- (\S+)\n(.*?)```", page, re.DOTALL)


def patched(text: str, diff: str) -> str:
    """`text` with every hunk applied; AssertionError unless each fits in exactly one place."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def wrapped_app(folder: Path, simulation: bool) -> Path:
    """The stock app in `folder`, wrapped as the page says for a simulation or for a deployment."""
    app = folder / "app"
    shutil.copytree(STOCK, app, ignore=shutil.ignore_patterns("__pycache__"))
    deployment, simulated = diffs()[:3], [diffs()[1], *diffs()[3:]]
    for name, diff in simulated if simulation else deployment:
        (app / name).write_text(patched((app / name).read_text(), diff))
    return app
