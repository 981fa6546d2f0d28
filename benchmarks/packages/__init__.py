"""Models of other people's packages: built with random weights, converted, compared with Keras."""
