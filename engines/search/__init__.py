"""The budget search: which layers stay high, so that the outputs stay within what was asked for at the least cost.

`budget` reads it, `groups` are what is decided, `switched` runs every choice in one session, `bounds` says what the
noise may be, `cost` weighs, `knapsack` chooses, `within` puts them together; `pareto` and `guard` compare the results.
"""
