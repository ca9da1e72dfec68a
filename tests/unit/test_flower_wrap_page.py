"""The page that shows how to wrap an app is right, and short."""

import ast

import pytest

from tests.wrapping import ROOT, diffs, wrapped_app


@pytest.mark.parametrize("simulation", [True, False])
def test_the_diffs_apply_to_the_stock_app_and_give_python(tmp_path, simulation):
    app = wrapped_app(tmp_path, simulation)
    for name in ("client_app.py", "server_app.py"):
        text = (app / "quickstart" / name).read_text()
        ast.parse(text)
        assert "flower_robust" in text


def test_wrapping_takes_at_most_ten_lines():
    changed = [line for _, diff in diffs()[:3] for line in diff.splitlines() if line[:1] in ("+", "-")]
    assert len(changed) <= 10


def test_the_readme_shows_the_same_lines():
    readme = (ROOT / "README.md").read_text()
    for name, diff in diffs()[:3]:
        assert f"--- {name}\n{diff}" in readme
