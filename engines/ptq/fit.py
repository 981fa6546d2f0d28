"""Fits rounding and biases to calibration samples, layer after layer, each with the inputs that those before give it.

What a layer's rounding and the layers before add to the mean of an output channel is taken from its bias (Nagel et al.
2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"; here on the quantized inputs).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.apply import applied
from engines.graphs import compute_nodes, constant, load, weights_of
from engines.ptq.carried import digits, encoded
from engines.ptq.equalize import equalize
from engines.ptq.products import Doubles, Moments, columns, from_columns, is_product, moments
from engines.ptq.rounding import damped, nearest, rounded
from engines.ptq.walk import Walk
from engines.recipe import LayerPrecision, Recipe
from engines.sessions import input_specs

ROWS = 20_000
"""Rows of a layer's inputs that its moments are taken over."""
BATCH = 32

Samples = Mapping[str, npt.NDArray[np.generic]]


def fitted(model: ir.Model, recipe: Recipe, samples: Samples, rounding: bool) -> Recipe:
    """The recipe with biases of INT8 layers that keep the means of their outputs, and with learned rounding or without.

    ``model``: the FP32 graph that the recipe is for; ``samples``: inputs by name. Layers whose output is not plainly a
    product of rows and weights stay as they are, and those without a bias of their own get none.
    """
    exact = equalize(load(model), recipe.equalized)
    simulated = applied(recipe, model, "simulate")
    fixed = next((s.shape[0] for s in input_specs(exact) if isinstance(s.shape[0], int)), None)
    count = len(next(iter(samples.values())))
    size = fixed or min(count, BATCH)
    batches = [{n: a[i : i + size] for n, a in samples.items()} for i in range(0, count // size * size, size)]
    walks = Walk(exact, batches), Walk(simulated, batches)
    layers = {layer.name: layer for layer in recipe.layers}
    for node in list(compute_nodes(exact)):
        layer = layers[node.name or ""]
        if layer.precision == "int8" and is_product(node):
            layers[layer.name] = _fit(node, layer, *walks, max(1, ROWS // len(batches)), rounding)
    return dataclasses.replace(recipe, layers=tuple(layers[layer.name] for layer in recipe.layers))


def _fit(
    node: ir.Node, layer: LayerPrecision, exact: Walk, simulated: Walk, most: int, rounding: bool
) -> LayerPrecision:
    """One layer, which both walks come to and go past."""
    exact.until(layer.name)
    exact.step({})
    twin = simulated.until(layer.name)
    found = moments(node, zip(simulated.of(twin.inputs[0]), exact.of(node.outputs[0]), strict=True), most)
    weights = weights_of(node)
    assert weights is not None  # is_product
    kernel = columns(node, weights.array)
    scale = np.asarray(layer.weight_scales, np.float16).astype(np.float64).reshape(kernel.shape[0], 1, -1)
    biased = len(node.inputs) > 2 and node.inputs[2] is not None and constant(node.inputs[2]) is not None
    integers = nearest(kernel, scale)
    if rounding:
        # without a bias of its own a layer errs by its mean as well
        mean = 0 if biased else found.inputs[:, :, None] * found.inputs[:, None, :]
        integers = rounded(kernel, scale, damped(found.gram + mean))
        changed = from_columns(node, integers - nearest(kernel, scale), weights.array.shape)
        layer = dataclasses.replace(layer, rounding=encoded(changed, from_columns(node, integers, weights.array.shape)))
    constants = {}
    if twin.inputs[1] is not None:
        narrow = from_columns(node, integers * scale, weights.array.shape).astype(np.float32)
        constants[twin.inputs[1].name or ""] = narrow
    if biased and twin.inputs[2] is not None:
        bias = _corrected(found, integers * scale)
        layer = dataclasses.replace(layer, bias=digits(bias))
        constants[twin.inputs[2].name or ""] = bias.astype(np.float16).astype(np.float32)
    simulated.step(constants)
    return layer


def _corrected(found: Moments, weights: Doubles) -> Doubles:
    """The bias, one number per output channel, with which the mean output is as it should be.

    b = E[y] - Wᵀ E[x] with the quantized ``weights`` (groups, K, M).
    """
    bias: Doubles = (found.outputs - (found.inputs[:, None, :] @ weights)[:, 0]).reshape(-1)
    return bias
