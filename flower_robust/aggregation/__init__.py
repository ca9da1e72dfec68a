"""Robust aggregation: pure tensor functions that know no keys, no network and no Flower."""

from flower_robust.aggregation.bulyan import Bulyan
from flower_robust.aggregation.coordinate import MeanAroundMedian, Median, TrimmedMean
from flower_robust.aggregation.geometry import Geometry, Reference
from flower_robust.aggregation.krum import Krum, MultiKrum
from flower_robust.aggregation.mean import Mean
from flower_robust.aggregation.nearest_neighbors import NearestNeighborMixing
from flower_robust.aggregation.rule import Mixing, RowRule, Rule, Weighting
from flower_robust.aggregation.sums import weighted_sum

__all__ = [
    "Bulyan",
    "Geometry",
    "Krum",
    "Mean",
    "MeanAroundMedian",
    "Median",
    "Mixing",
    "MultiKrum",
    "NearestNeighborMixing",
    "Reference",
    "RowRule",
    "Rule",
    "TrimmedMean",
    "Weighting",
    "weighted_sum",
]
