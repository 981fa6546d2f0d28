"""How close two sets of outputs are, and whether that is close enough: metrics, thresholds, comparison, report."""
