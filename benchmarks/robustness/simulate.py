"""Federated rounds in process: all participants of many cells train at once, then every cell is attacked and decides.

What happens between the updates and the new weights is the code of `run_round`: `decide_rows`, then `BetaTrust.update`.
Signatures are left out: they change no number, and a malicious update that would fail a check is clipped so that it
passes. All cells of a call share setting, seed and schedule, so that they also share every draw: cells that differ in
nothing but the rule are paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.robustness.cells import COURSES, NORM_BOUNDS, Cell, Course, Setting
from benchmarks.robustness.defences import DEFENCES, Defence, Defender
from benchmarks.robustness.learners import accuracy, auc, batches, initial_weights, outputs_of, sgd_step
from benchmarks.robustness.masked import defender_of
from benchmarks.robustness.rows import Pool, load_pool
from benchmarks.robustness.threats import THREATS, Scene, Threat
from clients.attacks import Knowledge
from clients.attacks_adaptive import TARGET
from clients.task import predicted, seed_for

ROOT = "root"
FLOATS_IN_CACHE = 1 << 19
Maker = Callable[[Defence, Setting, Sequence[int]], Defender]


@dataclass(frozen=True)
class Run:
    """What one cell gave.

    accuracy: after each round; at the end, triggered: the share of triggered test rows in the target class, auc: where
    there are two classes (else 0), parts: accuracy on each hospital's test rows, trust: everybody's; quarantined: in
    how many rounds each participant was in quarantine; early_trust: everybody's after ten rounds.
    """

    cell: Cell
    accuracy: list[float]
    triggered: float
    auc: float
    parts: list[float]
    trust: list[float]
    quarantined: list[int]
    early_trust: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Group:
    setting: Setting
    seed: int
    f: int
    course: Course
    pool: Pool
    layers: tuple[tuple[int, int], ...]
    threats: list[Threat]
    defenders: list[Defender]


def simulate(
    cells: Sequence[Cell], data_dir: str = "", course: Course | None = None, make: Maker = defender_of
) -> list[Run]:
    """The runs of cells that share setting and seed, attacked or all of them not; `make` builds their defenders."""
    setting, seed = cells[0].setting, cells[0].seed
    threats = [THREATS[cell.threat] for cell in cells]
    f = 0 if threats[0].name == "none" else setting.f
    if any(cell.setting != setting or cell.seed != seed or (cell.threat == "none") != (f == 0) for cell in cells):
        raise ValueError("cells of one call must share setting, seed and whether anybody lies")
    pool = load_pool(setting, setting.n - f, seed, data_dir)
    weights, layers = initial_weights(setting.model, pool.X.shape[2], pool.classes, seed)
    course = course or COURSES[setting.dataset, setting.model]
    rows = [len(owner) for owner in pool.owners]
    defenders = [
        make(DEFENCES[cell.defence], setting, threat.declared(rows, f))
        for cell, threat in zip(cells, threats, strict=True)
    ]
    group = _Group(setting, seed, f, course, pool, layers, threats, defenders)
    return _rounds(group, cells, weights.repeat(len(cells), 1))


def _rounds(group: _Group, cells: Sequence[Cell], weights: Tensor) -> list[Run]:
    n = group.setting.n
    momentum = torch.zeros(len(cells), n + 1, weights.shape[1])
    history = []
    for server_round in range(1, group.course.rounds + 1):
        updates = local_updates(group, weights, server_round)
        sent = with_momentum(updates, momentum, group.defenders, server_round)
        for g in range(len(cells)):
            _decide(group, g, sent[g], weights[g], server_round)
        history.append(accuracy(weights, group.layers, group.pool.held_out, group.pool.held_out_y))
    curves = torch.stack(history, 1)
    return [_run(group, *one) for one in zip(cells, curves, weights, group.defenders, strict=True)]


def _run(group: _Group, cell: Cell, curve: Tensor, weights: Tensor, defender: Defender) -> Run:
    pool, scores = group.pool, outputs_of(weights[None], group.layers, group.pool.held_out[None])[-1][0]
    right = (predicted(scores) == pool.held_out_y).float()
    worn = predicted(outputs_of(weights[None], group.layers, pool.triggered[None])[-1][0])
    return Run(
        cell,
        accuracy=[round(a, 4) for a in curve.tolist()],
        triggered=round(float((worn == TARGET)[pool.held_out_y != TARGET].float().mean()), 4),
        auc=round(auc(scores[:, 0], pool.held_out_y), 4) if scores.shape[1] == 1 else 0.0,
        parts=[round(float(part.mean()), 4) for part in right.split(pool.test_parts)],
        trust=defender.trust_means(),
        quarantined=defender.quarantined,
        early_trust=defender.early_trust,
    )


def local_updates(group: _Group, weights: Tensor, server_round: int) -> Tensor:
    """Float32[cells, n + 1, d]: what local training gives every participant, and the server on its root rows."""
    G, n, pool, course = len(weights), group.setting.n, group.pool, group.course
    owners = [*pool.owners, pool.root]
    names = [*(str(i) for i in range(n)), ROOT]
    drawn = [
        batches(rows, course.steps, course.batch_size, seed_for(group.seed, server_round, name))
        for rows, name in zip(owners, names, strict=True)
    ]
    variant = torch.zeros(G, n + 1, 1, dtype=torch.int64)
    for g, threat in enumerate(group.threats):
        variant[g, n - group.f : n] = pool.variants.index(threat.poison)
    chosen = torch.from_numpy(np.stack([rows for rows, _ in drawn], axis=1))
    share = torch.stack([share for _, share in drawn], dim=1)
    start = weights[:, None, :].expand(G, n + 1, -1)
    local = start.clone()
    for part in torch.arange(G).split(max(1, FLOATS_IN_CACHE // start[0].numel())):
        k = len(part) * (n + 1)
        models = local[part[0] : part[-1] + 1].view(k, -1)
        for rows, shares in zip(chosen, share, strict=True):
            X, y = pool.X[variant[part], rows].flatten(0, 1), pool.y[variant[part], rows].flatten(0, 1)
            sgd_step(models, group.layers, X, y, shares.repeat(len(part), 1), course.learning_rate)
    return local.sub_(start)


def with_momentum(updates: Tensor, momentum: Tensor, defenders: Sequence[Defender], server_round: int) -> Tensor:
    """What the mod sends: the mean of its updates so far, recent ones first, clipped to the norm bound.

        m ← β·m + (1 − β)·u,  sent = clip(m / (1 − β^round), C)

    momentum Float32[cells, n + 1, d] is overwritten by m.
    """
    beta = torch.tensor([defender.defence.momentum for defender in defenders])[:, None, None]
    momentum.mul_(beta).add_(updates.mul_(1 - beta))
    bounds = torch.tensor([defender.norm_bound for defender in defenders])[:, None]
    scale = 1 / (1 - beta**server_round)
    norms = momentum.norm(dim=2) * scale[:, :, 0]
    return momentum * (scale * (bounds / norms).nan_to_num(1.0).clamp(max=1)[:, :, None])


def _decide(group: _Group, g: int, sent: Tensor, weights: Tensor, server_round: int) -> None:
    """One cell's round, in place on its weights; a model that diverged stays where it was."""
    defender, threat, n = group.defenders[g], group.threats[g], group.setting.n
    rows, reference = sent[:n], sent[n]
    if not bool(torch.isfinite(rows).all()):
        return
    generator = torch.Generator().manual_seed(seed_for(group.seed, server_round, threat.name))
    if group.f:
        preview = lambda x: defender.preview(_clipped(x, defender.norm_bound), reference)  # noqa: E731
        harm = partial(_harm, group, weights)
        bound = min(defender.norm_bound, NORM_BOUNDS[group.setting.dataset, group.setting.model])
        scene = Scene(rows, group.f, server_round, group.course.rounds, generator, preview, harm, bound)
        rows = _clipped(threat.malicious_rows(scene), defender.norm_bound)
    biased = group.f if threat.sketched else 0
    aggregate = defender.aggregate(rows, reference, biased, generator)
    if bool(torch.isfinite(aggregate).all()):
        weights += aggregate


def _harm(group: _Group, weights: Tensor, knowledge: Knowledge) -> Callable[[Tensor], Tensor]:
    """Of a step: mean of tanh(margin / 2) of the wrong answer over the training rows that are known, −1 where all is
    right."""
    malicious = range(group.setting.n - group.f, group.setting.n)
    members = range(group.setting.n) if knowledge is Knowledge.ALL else malicious
    rows = np.concatenate([group.pool.owners[i] for i in members])
    X, y = group.pool.X[:1, rows], group.pool.y[0, rows]

    def of(step: Tensor) -> Tensor:
        scores = outputs_of((weights + step)[None], group.layers, X)[-1][0]
        if scores.shape[1] == 1:
            return torch.tanh((0.5 - y.to(scores)) * scores[:, 0]).mean()
        wrong = scores.scatter(1, y[:, None], -torch.inf).amax(1)
        return torch.tanh((wrong - scores.gather(1, y[:, None])[:, 0]) / 2).mean()

    return of


def _clipped(rows: Tensor, bound: float) -> Tensor:
    if bound == float("inf"):
        return rows
    norms = rows.norm(dim=1, keepdim=True)
    return rows * (bound / norms.clamp_min(1e-30)).clamp(max=1)
