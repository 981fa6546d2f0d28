"""What `tf.*` functions mean in `keras.ops`, so that layers written in raw TensorFlow open like all others.

While a model is traced the adapters stand in for the functions wherever an argument is symbolic. Of the `K.*` names
only those are listed that look at what a KerasTensor has not; the others are written in these functions themselves.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from converters.tensorflow_adapters import (
    Adapter,
    arithmetic,
    control,
    corner_resize,
    images,
    keras_backend,
    neural,
    quantization,
    shapes,
    signals,
)

_UNARY = {
    "abs": ops.abs,
    "acos": ops.arccos,
    "acosh": ops.arccosh,
    "asin": ops.arcsin,
    "asinh": ops.arcsinh,
    "atan": ops.arctan,
    "atanh": ops.arctanh,
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
    "atan2": ops.arctan2,
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
    "truediv": ops.true_divide,
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
_PAIRS: dict[str, Adapter] = {
    "reduce_all": ops.logical_and,
    "reduce_any": ops.logical_or,
    "reduce_max": ops.maximum,
    "reduce_min": ops.minimum,
    "reduce_prod": ops.multiply,
    "reduce_sum": ops.add,
}
_EVERYWHERE: dict[str, Adapter] = {  # in tf and in tf.math
    **{name: arithmetic.unary(function) for name, function in _UNARY.items()},
    **{name: arithmetic.binary(function) for name, function in _BINARY.items()},
    **{name: arithmetic.reduction(function, _PAIRS.get(name)) for name, function in _REDUCTIONS.items()},
    "abs": signals.of_parts(abs, ops.abs),
    "multiply": signals.product,
    "add_n": arithmetic.add_n,
    "argmax": arithmetic.place(ops.argmax),
    "argmin": arithmetic.place(ops.argmin),
    "cumsum": arithmetic.cumulative(ops.cumsum, 0),
}

_TOP: dict[str, Adapter] = {
    **_EVERYWHERE,
    "argsort": shapes.argsort,
    "broadcast_to": shapes.broadcast_to,
    "case": control.case,
    "cast": signals.cast(arithmetic.cast),
    "clip_by_value": arithmetic.clip,
    "complex": signals.pair,
    "concat": shapes.concat,
    "cond": control.cond,
    "convert_to_tensor": arithmetic.convert,
    "einsum": arithmetic.einsum,
    "ensure_shape": arithmetic.same,
    "expand_dims": shapes.expand_dims,
    "fill": shapes.fill,
    "foldl": control.fold(reverse=False),
    "foldr": control.fold(reverse=True),
    "gather": shapes.gather,
    "gather_nd": shapes.gather_nd,
    "identity": arithmetic.unary(lambda x: x),
    "linspace": shapes.linspace,
    "map_fn": control.map_fn,
    "matmul": arithmetic.matmul,
    "meshgrid": shapes.meshgrid,
    "norm": arithmetic.norm,
    "one_hot": shapes.one_hot,
    "ones": shapes.ones,
    "ones_like": arithmetic.like(ops.ones_like),
    "pad": shapes.pad,
    "range": shapes.range_,
    "rank": shapes.rank,
    "repeat": shapes.repeat,
    "reshape": shapes.reshape,
    "reverse": shapes.reverse,
    "roll": shapes.roll,
    "scan": control.scan,
    "searchsorted": shapes.searchsorted,
    "sequence_mask": shapes.sequence_mask,
    "shape": shapes.shape,
    "size": shapes.size,
    "slice": shapes.slice_,
    "sort": shapes.sort,
    "split": shapes.split,
    "squeeze": arithmetic.axis_of(ops.squeeze),
    "stack": shapes.stack,
    "stop_gradient": arithmetic.unary(ops.stop_gradient),
    "switch_case": control.switch_case,
    "tensor_scatter_nd_add": shapes.scatter("add"),
    "tensor_scatter_nd_max": shapes.scatter("max"),
    "tensor_scatter_nd_min": shapes.scatter("min"),
    "tensor_scatter_nd_update": shapes.scatter(None),
    "tensordot": arithmetic.tensordot,
    "tile": shapes.tile,
    "transpose": shapes.transpose,
    "unstack": shapes.unstack,
    "vectorized_map": control.vectorized_map,
    "where": shapes.where,
    "while_loop": control.while_loop,
    "zeros": shapes.zeros,
    "zeros_like": arithmetic.like(ops.zeros_like),
}
_NN: dict[str, Adapter] = {
    "avg_pool": neural.pool(ops.average_pool),
    "avg_pool1d": neural.pool(ops.average_pool),
    "avg_pool2d": neural.pool(ops.average_pool),
    "avg_pool3d": neural.pool(ops.average_pool),
    "batch_normalization": neural.batch_normalization,
    "bias_add": neural.bias_add,
    "conv1d": neural.conv1d,
    "conv1d_transpose": neural.transposed_convolution,
    "conv2d": neural.conv2d,
    "conv2d_transpose": neural.transposed_convolution,
    "conv3d": neural.convolution,
    "convolution": neural.convolution,
    "crelu": neural.crelu,
    "depth_to_space": neural.blocks(ops.depth_to_space),
    "depthwise_conv2d": neural.depthwise_conv2d,
    "elu": arithmetic.unary(ops.elu),
    "embedding_lookup": shapes.embedding,
    "gelu": arithmetic.gelu,
    "l2_normalize": arithmetic.l2_normalize,
    "leaky_relu": arithmetic.leaky_relu,
    "log_softmax": arithmetic.softmax(ops.log_softmax),
    "max_pool": neural.pool(ops.max_pool),
    "max_pool1d": neural.pool(ops.max_pool),
    "max_pool2d": neural.pool(ops.max_pool),
    "max_pool3d": neural.pool(ops.max_pool),
    "moments": arithmetic.moments,
    "relu": arithmetic.unary(ops.relu),
    "relu6": arithmetic.unary(ops.relu6),
    "selu": arithmetic.unary(ops.selu),
    "separable_conv2d": neural.separable_conv2d,
    "sigmoid": arithmetic.unary(ops.sigmoid),
    "silu": arithmetic.unary(ops.silu),
    "softmax": arithmetic.softmax(ops.softmax),
    "softplus": arithmetic.unary(ops.softplus),
    "softsign": arithmetic.unary(ops.softsign),
    "space_to_depth": neural.blocks(ops.space_to_depth),
    "swish": arithmetic.unary(ops.silu),
    "tanh": arithmetic.unary(ops.tanh),
    "top_k": shapes.top_k,
    "zero_fraction": arithmetic.zero_fraction,
}
_MATH: dict[str, Adapter] = {
    **_EVERYWHERE,
    "angle": signals.of_parts(signals.angle, lambda x: ops.where(ops.less(x, 0), np.float32(np.pi), 0.0)),
    "ceil": arithmetic.unary(ops.ceil),
    "conj": signals.of_parts(signals.conjugate, lambda x: x),
    "count_nonzero": arithmetic.count_nonzero,
    "cumprod": arithmetic.cumulative(ops.cumprod, 1),
    "cumulative_logsumexp": arithmetic.cumulative_logsumexp,
    "divide_no_nan": arithmetic.binary(ops.divide_no_nan),
    "erf": arithmetic.unary(ops.erf),
    "erfinv": arithmetic.unary(ops.erfinv),
    "expm1": arithmetic.unary(ops.expm1),
    "floordiv": arithmetic.binary(ops.floor_divide),
    "floormod": arithmetic.binary(ops.mod),
    "imag": signals.of_parts(lambda x: x.imag, ops.zeros_like),
    "is_finite": arithmetic.unary(ops.isfinite),
    "is_inf": arithmetic.unary(ops.isinf),
    "is_nan": arithmetic.unary(ops.isnan),
    "l2_normalize": arithmetic.l2_normalize,
    "log": arithmetic.unary(ops.log),
    "log1p": arithmetic.unary(ops.log1p),
    "log_sigmoid": arithmetic.unary(ops.log_sigmoid),
    "log_softmax": arithmetic.softmax(ops.log_softmax),
    "mod": arithmetic.binary(ops.mod),
    "multiply_no_nan": arithmetic.multiply_no_nan,
    "real": signals.of_parts(lambda x: x.real, lambda x: x),
    "reciprocal": arithmetic.unary(ops.reciprocal),
    "reduce_std": arithmetic.reduction(ops.std),
    "reduce_variance": arithmetic.reduction(ops.var),
    "rint": arithmetic.unary(ops.round),
    "rsqrt": arithmetic.unary(ops.rsqrt),
    "softmax": arithmetic.softmax(ops.softmax),
    "softplus": arithmetic.unary(ops.softplus),
    "squared_difference": arithmetic.binary(lambda x, y: ops.square(ops.subtract(x, y))),
    "top_k": shapes.top_k,
    "xdivy": arithmetic.no_nan(ops.divide),
    "xlogy": arithmetic.no_nan(lambda x, y: ops.multiply(x, ops.log(y))),
    "zero_fraction": arithmetic.zero_fraction,
}
_LINALG: dict[str, Adapter] = {
    "band_part": arithmetic.band_part,
    "cross": arithmetic.products(ops.cross),
    "det": arithmetic.unary(ops.linalg.det),
    "diag": arithmetic.diag,
    "diag_part": arithmetic.diag_part,
    "einsum": arithmetic.einsum,
    "inv": arithmetic.unary(ops.linalg.inv),
    "l2_normalize": arithmetic.l2_normalize,
    "matmul": arithmetic.matmul,
    "matrix_transpose": arithmetic.matrix_transpose,
    "matvec": arithmetic.matvec,
    "norm": arithmetic.norm,
    "normalize": arithmetic.normalize,
    "set_diag": arithmetic.set_diag,
    "solve": arithmetic.solve,
    "tensordot": arithmetic.tensordot,
    "trace": arithmetic.unary(lambda x: ops.trace(x, axis1=-2, axis2=-1)),
}
_IMAGE: dict[str, Adapter] = {
    "adjust_brightness": images.adjust_brightness,
    "adjust_contrast": images.adjust_contrast,
    "adjust_gamma": images.adjust_gamma,
    "adjust_saturation": images.adjust_saturation,
    "central_crop": images.central_crop,
    "convert_image_dtype": images.convert_image_dtype,
    "crop_to_bounding_box": images.crop,
    "extract_patches": images.extract_patches,
    "flip_left_right": images.flip(-2),
    "flip_up_down": images.flip(-3),
    "grayscale_to_rgb": images.grayscale_to_rgb,
    "hsv_to_rgb": images.image(ops.image.hsv_to_rgb),
    "pad_to_bounding_box": images.pad_to_bounding_box,
    "per_image_standardization": images.per_image_standardization,
    "resize": images.resize,
    "resize_with_crop_or_pad": images.resize_with_crop_or_pad,
    "rgb_to_grayscale": images.image(ops.image.rgb_to_grayscale),
    "rgb_to_hsv": images.image(ops.image.rgb_to_hsv),
    "rgb_to_yuv": images.rgb_to_yuv,
    "rot90": images.rot90,
    "transpose": images.transpose,
}
_SIGNAL: dict[str, Adapter] = {
    "dct": signals.dct,
    "fft": signals.transform(ops.fft),
    "fft2d": signals.transform(ops.fft2),
    "frame": signals.frame,
    "ifft2d": signals.transform(ops.ifft2),
    "irfft": signals.irfft,
    "mfccs_from_log_mel_spectrograms": signals.mfccs,
    "rfft": signals.rfft,
    "stft": signals.stft,
}
_DEBUGGING: dict[str, Adapter] = {
    "check_numerics": arithmetic.check_numerics,
    **{
        f"assert_{name}": arithmetic.nothing
        for name in (
            "equal", "greater", "greater_equal", "less", "less_equal", "near", "non_negative",
            "none_equal", "positive", "rank", "rank_at_least", "rank_in", "shapes",
        )
    },
}  # fmt: skip
_IMAGE_1: dict[str, Adapter] = {
    "resize": corner_resize.resize,
    "resize_bilinear": corner_resize.resize_bilinear,
    "resize_images": corner_resize.resize,
}
_QUANTIZATION: dict[str, Adapter] = {
    "fake_quant_with_min_max_args": quantization.fake_quant,
    "fake_quant_with_min_max_vars": quantization.fake_quant,
    "fake_quant_with_min_max_vars_per_channel": quantization.fake_quant_per_channel,
    "quantize_and_dequantize": quantization.quantize_and_dequantize,
    "quantize_and_dequantize_v2": quantization.quantize_and_dequantize,
}
_KERAS_BACKEND: dict[str, Adapter] = {
    "all": ops.all,
    "any": ops.any,
    "argmax": keras_backend.arg(ops.argmax),
    "argmin": keras_backend.arg(ops.argmin),
    "batch_flatten": keras_backend.batch_flatten,
    "concatenate": ops.concatenate,
    "dot": ops.dot,
    "gather": shapes.gather,
    "max": ops.max,
    "mean": ops.mean,
    "min": ops.min,
    "prod": ops.prod,
    "repeat_elements": ops.repeat,
    "resize_images": keras_backend.resize_images,
    "softmax": ops.softmax,
    "std": ops.std,
    "sum": ops.sum,
    "switch": keras_backend.switch,
    "var": ops.var,
}
_V1: dict[str, Adapter] = {  # what the functions above call in turn, and a tf_keras model records
    "expand_dims": lambda input, axis=None, name=None, dim=None: ops.expand_dims(input, dim if axis is None else axis),
    "pad": lambda tensor, paddings, mode="CONSTANT", name=None, constant_values=0: shapes.pad(
        tensor, paddings, mode, constant_values
    ),
    "shape": lambda input, name=None, out_type=None: shapes.shape(input),
    "size": lambda input, name=None, out_type=None: shapes.size(input),
    "squeeze": lambda input, axis=None, name=None, squeeze_dims=None: ops.squeeze(input, axis or squeeze_dims),
    "transpose": shapes.transpose,
}

_TABLES = {
    "": _TOP,
    "nn": _NN,
    "math": _MATH,
    "linalg": _LINALG,
    "image": _IMAGE,
    "compat.v1": _V1,
    "compat.v1.image": _IMAGE_1,
    "debugging": _DEBUGGING,
    "quantization": _QUANTIZATION,
    "signal": _SIGNAL,
}


def writes() -> list[tuple[Any, str]]:
    """(class, name) of each method that changes a tf.Variable, where TensorFlow is loaded."""
    if "tensorflow" not in sys.modules:
        return []
    from tensorflow.python.ops.resource_variable_ops import ResourceVariable

    prefixes = ("assign", "scatter_", "batch_scatter_")
    return [(cls, name) for cls in ResourceVariable.__mro__ for name in vars(cls) if name.startswith(prefixes)]


def indexed() -> list[type]:
    """The classes of TensorFlow's values, where it is loaded: a model may index one with a size or a symbolic value."""
    if "tensorflow" not in sys.modules:
        return []
    from tensorflow.python.framework.tensor import Tensor
    from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

    return [Tensor, BaseResourceVariable]


OPERATORS: dict[str, Adapter] = {
    "__add__": ops.add,
    "__and__": ops.logical_and,
    "__floordiv__": ops.floor_divide,
    "__ge__": ops.greater_equal,
    "__gt__": ops.greater,
    "__le__": ops.less_equal,
    "__lt__": ops.less,
    "__matmul__": ops.matmul,
    "__mod__": ops.mod,
    "__mul__": ops.multiply,
    "__or__": ops.logical_or,
    "__pow__": ops.power,
    "__sub__": ops.subtract,
    "__truediv__": ops.true_divide,
}
"""What an operator of a TensorFlow value is, where the other operand is symbolic; of its own it is an error."""


def adapter(name: str) -> Adapter | None:
    """The adapter of a function by its name after ``tf.``, whether TensorFlow is there or not."""
    place, _, function = name.rpartition(".")
    return {**_TABLES, "keras.backend": _KERAS_BACKEND}.get(place, {}).get(function)


def function(name: str) -> Adapter | None:
    """The function of that name after ``tf.`` itself, where TensorFlow is loaded and there is an adapter of it."""
    if "tensorflow" not in sys.modules or name.startswith("keras.") or adapter(name) is None:
        return None
    found: Adapter = operator.attrgetter(name)(sys.modules["tensorflow"])
    return found


def redirections() -> list[tuple[Any, str, Adapter]]:
    """(module, name, adapter) of each function, where TensorFlow is loaded; a layer written in it has loaded it."""
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return []
    tables = _modules(tf)
    for name in ("keras._tf_keras.keras.backend", "tf_keras.backend"):  # where something has looked at them
        if name in sys.modules:
            tables.append((sys.modules[name], _KERAS_BACKEND))
    from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

    found = [(module, name, adapter) for module, table in tables for name, adapter in table.items()]
    return [*found, (Function, "__call__", control.function)]


@contextlib.contextmanager
def dispatched(is_symbolic: Callable[..., bool]) -> Iterator[None]:
    """For the length of the block, and in this thread, what TensorFlow refuses to do with symbolic values its adapter
    does: functions that a module has imported by name, which no redirection reaches.
    """
    if "tensorflow" not in sys.modules:
        yield
        return
    from tensorflow.python.util import dispatch, tf_decorator

    owner, known = threading.get_ident(), _by_function()

    class Dispatcher(dispatch.GlobalOpDispatcher):  # type: ignore[misc]
        def handle(self, op: Any, args: Any, kwargs: Any) -> Any:
            found = known.get(tf_decorator.unwrap(op)[1])
            if found is None or threading.get_ident() != owner or not is_symbolic(args, kwargs):
                return self.NOT_SUPPORTED
            return found(*args, **kwargs)

    dispatcher = Dispatcher()
    dispatcher.register()
    try:
        yield
    finally:
        dispatch._GLOBAL_DISPATCHERS.remove(dispatcher)


@functools.cache
def _by_function() -> dict[Any, Adapter]:
    """The adapters by the functions of TensorFlow themselves, without what decorates them."""
    import tensorflow as tf
    from tensorflow.python.util import tf_decorator

    return {
        tf_decorator.unwrap(getattr(module, name))[1]: adapter
        for module, table in _modules(tf)
        for name, adapter in table.items()
    }


def _modules(tf: Any) -> list[tuple[Any, dict[str, Adapter]]]:
    """The modules of TensorFlow that there are adapters for, with these."""
    return [(operator.attrgetter(place)(tf) if place else tf, table) for place, table in _TABLES.items()]
