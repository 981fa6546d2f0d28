"""What `tf.*` functions mean in `keras.ops`, so that layers written in raw TensorFlow open like all others.

While a model is traced the adapters stand in for the functions wherever an argument is symbolic. Of the `K.*` names
only those are listed that look at what a KerasTensor has not; the others are written in these functions themselves.
"""

from __future__ import annotations

import sys
from typing import Any

from keras import ops

from converters import tensorflow_adapters as adapters
from converters.tensorflow_adapters import Adapter

_UNARY = {
    "abs": ops.abs,
    "acos": ops.arccos,
    "asin": ops.arcsin,
    "atan": ops.arctan,
    "cos": ops.cos,
    "cosh": ops.cosh,
    "exp": ops.exp,
    "floor": ops.floor,
    "logical_not": ops.logical_not,
    "negative": ops.negative,
    "round": ops.round,
    "sigmoid": ops.sigmoid,
    "sign": ops.sign,
    "sin": ops.sin,
    "sinh": ops.sinh,
    "sqrt": ops.sqrt,
    "square": ops.square,
    "tan": ops.tan,
    "tanh": ops.tanh,
}
_BINARY = {
    "add": ops.add,
    "divide": ops.divide,
    "equal": ops.equal,
    "greater": ops.greater,
    "greater_equal": ops.greater_equal,
    "less": ops.less,
    "less_equal": ops.less_equal,
    "logical_and": ops.logical_and,
    "logical_or": ops.logical_or,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "multiply": ops.multiply,
    "not_equal": ops.not_equal,
    "pow": ops.power,
    "subtract": ops.subtract,
}
_REDUCTIONS = {
    "reduce_all": ops.all,
    "reduce_any": ops.any,
    "reduce_logsumexp": ops.logsumexp,
    "reduce_max": ops.max,
    "reduce_mean": ops.mean,
    "reduce_min": ops.min,
    "reduce_prod": ops.prod,
    "reduce_sum": ops.sum,
}
_EVERYWHERE: dict[str, Adapter] = {  # in tf and in tf.math
    **{name: adapters.unary(function) for name, function in _UNARY.items()},
    **{name: adapters.binary(function) for name, function in _BINARY.items()},
    **{name: adapters.reduction(function) for name, function in _REDUCTIONS.items()},
    "add_n": adapters.add_n,
    "argmax": adapters.place(ops.argmax),
    "argmin": adapters.place(ops.argmin),
    "cumsum": adapters.cumulative(ops.cumsum, 0),
}

_TOP: dict[str, Adapter] = {
    **_EVERYWHERE,
    "argsort": adapters.argsort,
    "broadcast_to": adapters.broadcast_to,
    "cast": adapters.cast,
    "clip_by_value": adapters.clip,
    "concat": adapters.concat,
    "convert_to_tensor": adapters.convert,
    "einsum": adapters.einsum,
    "ensure_shape": adapters.same,
    "expand_dims": adapters.axis_of(ops.expand_dims),
    "fill": adapters.fill,
    "gather": adapters.gather,
    "identity": adapters.unary(lambda x: x),
    "matmul": adapters.matmul,
    "norm": adapters.norm,
    "one_hot": adapters.one_hot,
    "ones": adapters.ones,
    "ones_like": adapters.like(ops.ones_like),
    "pad": adapters.pad,
    "range": adapters.range_,
    "repeat": adapters.repeat,
    "reshape": adapters.reshape,
    "reverse": adapters.reverse,
    "roll": adapters.roll,
    "shape": adapters.shape,
    "slice": adapters.slice_,
    "sort": adapters.sort,
    "split": adapters.split,
    "squeeze": adapters.axis_of(ops.squeeze),
    "stack": adapters.stack,
    "stop_gradient": adapters.unary(ops.stop_gradient),
    "tensordot": adapters.tensordot,
    "tile": adapters.tile,
    "transpose": adapters.transpose,
    "unstack": adapters.unstack,
    "where": adapters.where,
    "zeros": adapters.zeros,
    "zeros_like": adapters.like(ops.zeros_like),
}
_NN: dict[str, Adapter] = {
    "avg_pool": adapters.pool(ops.average_pool),
    "avg_pool2d": adapters.pool(ops.average_pool),
    "batch_normalization": adapters.batch_normalization,
    "bias_add": adapters.bias_add,
    "conv1d": adapters.conv1d,
    "conv2d": adapters.conv2d,
    "depth_to_space": adapters.blocks(ops.depth_to_space),
    "depthwise_conv2d": adapters.depthwise_conv2d,
    "elu": adapters.unary(ops.elu),
    "embedding_lookup": adapters.embedding,
    "gelu": adapters.gelu,
    "l2_normalize": adapters.l2_normalize,
    "leaky_relu": adapters.leaky_relu,
    "log_softmax": adapters.softmax(ops.log_softmax),
    "max_pool": adapters.pool(ops.max_pool),
    "max_pool2d": adapters.pool(ops.max_pool),
    "moments": adapters.moments,
    "relu": adapters.unary(ops.relu),
    "relu6": adapters.unary(ops.relu6),
    "selu": adapters.unary(ops.selu),
    "sigmoid": adapters.unary(ops.sigmoid),
    "silu": adapters.unary(ops.silu),
    "softmax": adapters.softmax(ops.softmax),
    "softplus": adapters.unary(ops.softplus),
    "softsign": adapters.unary(ops.softsign),
    "space_to_depth": adapters.blocks(ops.space_to_depth),
    "swish": adapters.unary(ops.silu),
    "tanh": adapters.unary(ops.tanh),
    "top_k": adapters.top_k,
}
_MATH: dict[str, Adapter] = {
    **_EVERYWHERE,
    "ceil": adapters.unary(ops.ceil),
    "cumprod": adapters.cumulative(ops.cumprod, 1),
    "divide_no_nan": adapters.binary(ops.divide_no_nan),
    "erf": adapters.unary(ops.erf),
    "expm1": adapters.unary(ops.expm1),
    "floordiv": adapters.binary(ops.floor_divide),
    "floormod": adapters.binary(ops.mod),
    "is_finite": adapters.unary(ops.isfinite),
    "is_inf": adapters.unary(ops.isinf),
    "is_nan": adapters.unary(ops.isnan),
    "l2_normalize": adapters.l2_normalize,
    "log": adapters.unary(ops.log),
    "log1p": adapters.unary(ops.log1p),
    "log_sigmoid": adapters.unary(ops.log_sigmoid),
    "log_softmax": adapters.softmax(ops.log_softmax),
    "mod": adapters.binary(ops.mod),
    "reciprocal": adapters.unary(ops.reciprocal),
    "reduce_std": adapters.reduction(ops.std),
    "reduce_variance": adapters.reduction(ops.var),
    "rsqrt": adapters.unary(ops.rsqrt),
    "softmax": adapters.softmax(ops.softmax),
    "softplus": adapters.unary(ops.softplus),
    "squared_difference": adapters.binary(lambda x, y: ops.square(ops.subtract(x, y))),
    "top_k": adapters.top_k,
}
_LINALG: dict[str, Adapter] = {
    "einsum": adapters.einsum,
    "l2_normalize": adapters.l2_normalize,
    "matmul": adapters.matmul,
    "matrix_transpose": adapters.matrix_transpose,
    "norm": adapters.norm,
    "tensordot": adapters.tensordot,
}
_IMAGE: dict[str, Adapter] = {
    "adjust_brightness": adapters.adjust_brightness,
    "central_crop": adapters.central_crop,
    "crop_to_bounding_box": adapters.crop,
    "flip_left_right": adapters.flip(-2),
    "flip_up_down": adapters.flip(-3),
    "hsv_to_rgb": adapters.image(ops.image.hsv_to_rgb),
    "resize": adapters.resize,
    "rgb_to_grayscale": adapters.image(ops.image.rgb_to_grayscale),
    "rgb_to_hsv": adapters.image(ops.image.rgb_to_hsv),
}
_KERAS_BACKEND: dict[str, Adapter] = {
    "all": ops.all,
    "any": ops.any,
    "argmax": adapters.k_arg(ops.argmax),
    "argmin": adapters.k_arg(ops.argmin),
    "batch_flatten": adapters.k_batch_flatten,
    "concatenate": ops.concatenate,
    "dot": ops.dot,
    "gather": adapters.gather,
    "max": ops.max,
    "mean": ops.mean,
    "min": ops.min,
    "prod": ops.prod,
    "repeat_elements": ops.repeat,
    "resize_images": adapters.k_resize_images,
    "softmax": ops.softmax,
    "std": ops.std,
    "sum": ops.sum,
    "switch": adapters.k_switch,
    "var": ops.var,
}


def writes() -> list[tuple[Any, str]]:
    """(class, name) of each method that changes a tf.Variable, where TensorFlow is loaded."""
    if "tensorflow" not in sys.modules:
        return []
    from tensorflow.python.ops.resource_variable_ops import ResourceVariable

    prefixes = ("assign", "scatter_", "batch_scatter_")
    return [(cls, name) for cls in ResourceVariable.__mro__ for name in vars(cls) if name.startswith(prefixes)]


def redirections() -> list[tuple[Any, str, Adapter]]:
    """(module, name, adapter) of each function, where TensorFlow is loaded; a layer written in it has loaded it."""
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return []
    tables: tuple[tuple[Any, dict[str, Adapter]], ...] = (
        (tf, _TOP),
        (tf.nn, _NN),
        (tf.math, _MATH),
        (tf.linalg, _LINALG),
        (tf.image, _IMAGE),
    )
    backend = sys.modules.get("keras._tf_keras.keras.backend")  # tf.keras.backend, where something has looked at it
    if backend is not None:
        tables = (*tables, (backend, _KERAS_BACKEND))
    return [(module, name, adapter) for module, table in tables for name, adapter in table.items()]
