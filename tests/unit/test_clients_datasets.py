"""Collections, partitions and the split: against what their publishers say."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from clients import heart
from clients.datasets import load_federation
from clients.partitions import dirichlet, iid
from flower_robust.errors import ConfigurationError, CorruptFile

HEART = Path(__file__).parents[3] / "shared" / "data" / "heart"
needs_heart = pytest.mark.skipif(not HEART.is_dir(), reason=f"the UCI heart files are not at {HEART}")


def load(dataset: str = "breast-cancer", **options: object):
    return load_federation(dataset, **{"hospitals": 10, "partition": "iid", **options})


def test_breast_cancer_is_what_its_publisher_describes() -> None:
    federation = load()
    labels = torch.cat([torch.cat([h.train.y, h.test.y]) for h in federation.hospitals])
    assert (len(labels), int(labels.sum()), federation.shape, federation.classes) == (569, 212, (30,), 2)


def test_digits_are_what_their_publisher_describes() -> None:
    federation = load("digits", standardise="none")
    X = torch.cat([torch.cat([h.train.X, h.test.X]) for h in federation.hospitals])
    assert X.shape == (1797, 1, 8, 8) and float(X.min()) == 0 and float(X.max()) == 1
    assert federation.classes == 10


@needs_heart
def test_heart_has_flamby_s_rows_inputs_and_split() -> None:
    federation = load("heart", hospitals=4, partition="natural", data_dir=str(HEART))
    assert federation.names == ("cleveland", "hungarian", "switzerland", "va")
    assert [(len(h.train), len(h.test)) for h in federation.hospitals] == [(199, 104), (172, 89), (30, 16), (85, 45)]
    assert federation.shape == (13,)
    assert float(federation.hospitals[2].train.y.float().mean()) == 1.0, "Switzerland trains on positives only"


@pytest.mark.parametrize("standardise", ["pooled", "hospital"])
def test_training_rows_are_standardised_and_no_test_row_takes_part(standardise: str) -> None:
    hospitals = load(standardise=standardise).hospitals
    groups = [torch.cat([h.train.X for h in hospitals])] if standardise == "pooled" else [h.train.X for h in hospitals]
    for X in groups:
        assert torch.allclose(X.mean(0), torch.zeros(30), atol=1e-5)
        assert torch.allclose(X.std(0), torch.ones(30), atol=1e-5)


def test_the_same_seed_deals_the_same_rows_and_another_seed_others() -> None:
    first, again, other = load(seed=1), load(seed=1), load(seed=2)
    assert all(torch.equal(a.train.X, b.train.X) for a, b in zip(first.hospitals, again.hospitals, strict=True))
    assert not torch.equal(first.hospitals[0].train.X, other.hospitals[0].train.X)


def test_natural_needs_a_collection_that_says_who_collected() -> None:
    with pytest.raises(ConfigurationError, match=r"partition: found 'natural', required iid or dirichlet"):
        load(partition="natural")


@needs_heart
def test_natural_has_as_many_hospitals_as_there_are() -> None:
    with pytest.raises(ConfigurationError, match="hospitals: found 5, required 4"):
        load("heart", hospitals=5, partition="natural", data_dir=str(HEART))


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ConfigurationError, match="data-dir: found '/nowhere', required an existing folder"):
        heart.locate("/nowhere")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"required a folder that holds processed\.cleveland\.data"):
        heart.locate(str(tmp_path))


def test_a_changed_file_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "processed.cleveland.data"
    path.write_bytes(b"63.0,1.0\n")
    found = hashlib.sha256(b"63.0,1.0\n").hexdigest()[:16]
    with pytest.raises(CorruptFile, match=f"processed.cleveland.data: found SHA-256 {found}"):
        heart.locate(str(tmp_path))
    assert path.read_bytes() == b"63.0,1.0\n"


def test_without_a_folder_the_files_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = {"processed.cleveland.data": b"one", "processed.hungarian.data": b"two",
                 "processed.switzerland.data": b"three", "processed.va.data": b"four"}  # fmt: skip
    asked: list[str] = []

    def fetch(hospital: str, path: Path) -> None:
        asked.append(hospital)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(published[path.name])

    digests = {h: hashlib.sha256(published[heart.file_name(h)]).hexdigest() for h in heart.HOSPITALS}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(heart, "_fetch", fetch)
    monkeypatch.setattr(heart, "SHA256", digests)
    folder = heart.locate("")
    assert heart.locate("") == folder and asked == list(heart.HOSPITALS)
    assert tmp_path in folder.parents


def test_more_hospitals_than_rows_allow_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"hospitals: found 100, required 1 to 71 \(569 rows"):
        load(hospitals=100)
    with pytest.raises(ConfigurationError, match="alpha"):
        load(partition="dirichlet", alpha=0.0)


def test_a_small_alpha_is_skewed_and_a_large_one_is_not() -> None:
    y = np.repeat(np.arange(2), 500)

    def spread(alpha: float) -> float:
        parts = dirichlet(y, 10, alpha, np.random.default_rng(0))
        return float(np.std([y[part].mean() for part in parts]))

    assert spread(0.1) > 0.3 > 0.1 > spread(100.0)
    assert sorted(len(part) for part in iid(1000, 10, np.random.default_rng(0))) == [100] * 10
