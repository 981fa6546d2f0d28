"""Speed, memory and sizes: measured by hand, never in a timed test. Results lie in benchmarks/results/."""
