"""Run hospitals that attack each other's model over Flower, with plain FedAvg and with ours, side by side.

Every option left out takes the data set's recipe. The run folder holds all that happened; see server/journal.py.
"""

import argparse
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from flower_robust.commands._superlink import SimulationSuperLink
from flower_robust.commands._watch import Display, watch
from flower_robust.errors import ConfigurationError
from flower_robust.masking.kernels import library as kernels
from flower_robust.trust import load_trust

OPTIONS = {
    "dataset": "breast-cancer, digits, or heart (four real hospitals)",
    "data-dir": "folder with the heart files; without it they are fetched from UCI once and checked",
    "hospitals": "how many take part",
    "partition": "iid, dirichlet, or natural (heart: by the hospital that collected the row)",
    "alpha": "concentration of the dirichlet partition; small is skewed",
    "standardise": "inputs by pooled, federated (summed in secret) or hospital statistics, or none",
    "model": "logistic, mlp, or cnn (digits)",
    "rule": "aggregation rule, e.g. 'default' (what the library picks for f), 'geometric-median' or 'nnm >> multikrum'",
    "f": "how many liars the rule must withstand",
    "attack": "what malicious hospitals do; 'none' or one of clients/attacks.py",
    "strength": "factor of the attack",
    "knowledge": "whose updates an attacker can compute: own, colluders, or all",
    "malicious": "how many hospitals attack (the first ones), or their names",
    "rounds": "rounds of training",
    "local-steps": "SGD steps of a hospital in one round",
    "batch-size": "rows of one step",
    "learning-rate": "step length",
    "norm-bound": "longest L2 norm of an update, C",
    "momentum": "0.9: hospitals send the mean of their recent updates; 0: this round's",
    "root-rows": "training rows that are the server's and no hospital's, for its own update, e.g. --rule reference",
    "threshold": "masks updates: T hospitals and the server together learn nothing of another's; auto, or 0: no masks",
    "seed": "fixes partition, model, batches and attacks: same seed, same result",
    "arms": "fedavg, robust, or both",
    "trust-file": "start from these reputations and write them back; without it every run starts afresh",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `flower-robust simulate`."""
    for option, text in OPTIONS.items():
        parser.add_argument(f"--{option}", help=text.replace("%", "%%"), metavar=option.upper())
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folder to write")
    parser.add_argument("--replace", action="store_true", help="overwrite an earlier run in --out")
    parser.add_argument("--app", type=Path, default=None, metavar="DIR", help="Flower app to run (default: this one)")


def run(args: argparse.Namespace) -> int:
    """Check everything, run, show. 0: finished; 1: the run failed or missed its quorum."""
    app = app_folder(args.app)
    sys.path.insert(0, str(app))
    given = {option: getattr(args, option.replace("-", "_")) for option in OPTIONS}
    config = checked(app, {option: value for option, value in given.items() if value is not None}, args.out)
    import_module("server.journal").prepare(args.out, args.replace)
    display = Display(config)
    display.start()
    if config["threshold"]:
        kernels.share()
    with SimulationSuperLink() as superlink:
        run_id = superlink.submit(app, config, int(config["hospitals"]))
        failure = watch(superlink, run_id, args.out, display)
    if failure:
        print(f"flower-robust: run failed: {failure}", file=sys.stderr)
        return 1
    display.finish(args.out)
    return 0


def checked(app: Path, given: dict[str, str], out: Path) -> dict[str, Any]:
    """The run config in full. Raises ConfigurationError or CorruptFile on whatever would stop the run later."""
    defaults = tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    paths = {key: str(Path(given[key]).expanduser().resolve()) for key in ("data-dir", "trust-file") if given.get(key)}
    settings = import_module("clients.settings").Settings.from_config(
        {**defaults, **given, **paths, "out": str(out.resolve()), "roster": import_module("clients.members").SIMULATED}
    )
    import_module("server.rules").rule_of(settings.rule, settings.f, settings.hospitals, settings.root_rows)
    if settings.trust_file and Path(settings.trust_file).exists():
        load_trust(Path(settings.trust_file))
    return dict(settings.to_config())


def app_folder(given: Path | None) -> Path:
    """The Flower app: --app, the checkout this package lies in, or the current folder."""
    checkout = Path(__file__).resolve().parents[2]
    for folder in [given.resolve()] if given else [checkout, Path.cwd()]:
        if all((folder / part).exists() for part in ("pyproject.toml", "clients/app.py", "server/app.py")):
            return folder
    raise ConfigurationError("app", str(given or Path.cwd()), "a folder with pyproject.toml, clients/ and server/")
