"""Generated conformance cases: every Keras layer and operation with the arguments that change inference.

python -m benchmarks.conformance [-k PATTERN] [-o docs/conformance.md]
"""
