"""The generated tables of docs/robustness.md: `flower-robust bench robustness --report-only --page FILE` draws them.

A section lies between `<!-- table: NAME -->` and `<!-- end -->`; what stands there is replaced, the rest is a person's.
"""

import re
from collections.abc import Callable

from benchmarks.robustness import bars, loud, tables
from benchmarks.robustness.results import Results
from flower_robust.errors import ConfigurationError

SECTIONS: dict[str, Callable[[Results], str]] = {
    "bars": bars.bars_table,
    "misses": bars.misses_table,
    "worst": tables.worst_table,
    "no-attack": tables.no_attack_table,
    "hospitals": tables.hospitals_table,
    "adaptive": tables.adaptive_table,
    "aimed": tables.aimed_table,
    "backdoor": tables.backdoor_table,
    "bounds": tables.bounds_table,
    "parts": tables.parts_table,
    "declared": tables.declared_table,
    "modelled": tables.modelled_table,
    "masked": tables.masked_table,
    "trust": loud.trust_table,
    "cost": loud.cost_table,
    "lift": tables.lift_table,
}
SECTION = re.compile(r"<!-- table: (?P<name>[a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def rewritten(text: str, results: Results) -> str:
    """`text` with every section drawn from the results; ConfigurationError names a section that does not exist."""

    def drawn(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in SECTIONS:
            raise ConfigurationError("page", f"section {name!r}", f"one of {', '.join(SECTIONS)}")
        return f"<!-- table: {name} -->\n{SECTIONS[name](results)}\n<!-- end -->"

    return SECTION.sub(drawn, text)


def report(results: Results) -> str:
    """All tables, those of the page first."""
    parts = [f"## {name}\n\n{draw(results)}" for name, draw in SECTIONS.items()]
    parts += ["## every defence\n\n" + tables.worst_of_all(results), "## regret\n\n" + bars.regret_table(results)]
    parts += [tables.accuracy_table(results, setting) for setting in results.settings]
    return "\n\n".join(parts) + "\n"
