"""Running a model on symbolic values: `trace` runs it, `recording` writes down its calls, `substitutes` stand in.

`unknown_sizes` and `sizes` are what may be done with a size that nobody knows yet, `control_flow` traces the functions
of branches and loops; `repeatable` and `untouched` see to it that the model's own code did no harm.
"""
