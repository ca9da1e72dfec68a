"""Robust aggregation: pure tensor functions that know no keys, no network and no Flower."""

from flower_robust.aggregation.bucketing import Bucketing
from flower_robust.aggregation.bulyan import Bulyan
from flower_robust.aggregation.clipping import AdaptiveClipping, CenteredClipping, NormClipping
from flower_robust.aggregation.company import CompanyFilter, company, default_rule, joint_excess
from flower_robust.aggregation.coordinate import MeanAroundMedian, Median, TrimmedMean
from flower_robust.aggregation.diameter import GreedyMinimumDiameter, MinimumDiameter
from flower_robust.aggregation.elimination import ComparativeElimination
from flower_robust.aggregation.foolsgold import FoolsGold
from flower_robust.aggregation.geometric_median import GeometricMedian
from flower_robust.aggregation.geometry import Geometry, Reference
from flower_robust.aggregation.krum import Krum, MultiKrum
from flower_robust.aggregation.mean import Mean
from flower_robust.aggregation.nearest_neighbors import NearestNeighborMixing
from flower_robust.aggregation.reference_trust import ReferenceTrust
from flower_robust.aggregation.registry import ALIASES, RULES, rule_from_text
from flower_robust.aggregation.rule import Mixing, RowRule, Rule, Weighting
from flower_robust.aggregation.spectral import Spectral
from flower_robust.aggregation.stranger import StrangerFilter
from flower_robust.aggregation.sums import weighted_sum

__all__ = [
    "ALIASES",
    "RULES",
    "AdaptiveClipping",
    "Bucketing",
    "Bulyan",
    "CenteredClipping",
    "CompanyFilter",
    "ComparativeElimination",
    "FoolsGold",
    "GeometricMedian",
    "Geometry",
    "GreedyMinimumDiameter",
    "Krum",
    "StrangerFilter",
    "Mean",
    "MeanAroundMedian",
    "Median",
    "MinimumDiameter",
    "Mixing",
    "MultiKrum",
    "NearestNeighborMixing",
    "NormClipping",
    "Reference",
    "ReferenceTrust",
    "RowRule",
    "Rule",
    "Spectral",
    "TrimmedMean",
    "Weighting",
    "company",
    "default_rule",
    "joint_excess",
    "rule_from_text",
    "weighted_sum",
]
