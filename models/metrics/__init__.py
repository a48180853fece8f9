"""What lists of recommendations are worth: for each shopper (`evaluate`, `auc`) and all together (`summary`)."""

from models.metrics.shoppers import METRICS, PARTS, auc, evaluate
from models.metrics.whole import gini, summary

__all__ = ["METRICS", "PARTS", "auc", "evaluate", "gini", "summary"]
