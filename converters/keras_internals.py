"""The only file that names `keras.src`: what tracing needs beyond Keras's public API.

Used internals, each checked by tests/converters/test_keras_internals.py so that a Keras upgrade breaks here and nowhere
else: the Operation classes of `keras.src.ops`, `Operation.symbolic_call` and `Layer.symbolic_call`, the `Node` that a
layer records of a symbolic call, the functions of `keras.src.backend`, `Functional._inputs_struct`,
`_build_shapes_dict`, `RandomInitializer`,
`Variable._convert_to_tensor`.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras.src import backend, ops
from keras.src.activations import activations
from keras.src.backend.common import global_state
from keras.src.backend.common.keras_tensor import any_symbolic_tensors
from keras.src.backend.config import is_nnx_enabled
from keras.src.initializers.random_initializers import RandomInitializer
from keras.src.layers import layer as layer_module
from keras.src.layers.preprocessing.image_preprocessing.base_image_preprocessing_layer import (
    BaseImagePreprocessingLayer,
)
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell
from keras.src.models import functional, sequential
from keras.src.ops import core, einops, function, image, linalg, math, nn, numpy, operation_utils
from keras.src.ops.operation import Operation
from keras.src.quantizers import quantizers
from keras.src.saving import saving_lib
from keras.src.utils import tf_utils

from converters import equation, fake_quantization
from converters.loading import live_layers
from converters.tensorflow_adapters import attributes, places
from converters.tensorflow_adapters.operators import OPERATORS
from converters.tracing.unknown_sizes import has_symbolic, is_computed
from converters.variables import aligned, can_share, is_aligned, share
from deploy.errors import ConversionError

__all__ = [
    "activations",
    "any_symbolic_tensors",
    "core",
    "einops",
    "function",
    "image",
    "linalg",
    "math",
    "nn",
    "numpy",
    "quantizers",
]

_LOCK = threading.RLock()
_WAITING = "uninitialized_variables"

SymbolicCall = Callable[..., Any]
Function = Callable[..., Any]
Redirect = Callable[[str, Function, Function], Function]


def base_spec(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Output specification by abstract evaluation of ``call``: for an operation whose own shape rule fails.

    JAX evaluates no variables abstractly; what stands for one has the dtype that it has in this call.
    """

    def abstract(value: Any) -> Any:
        if not isinstance(value, keras.Variable):
            return value
        return keras.KerasTensor(value.shape, keras.backend.standardize_dtype(value.dtype))

    args, kwargs = keras.tree.map_structure(abstract, (args, kwargs))
    return Operation.compute_output_spec(operation, *args, **kwargs)


def operation_classes() -> list[type]:
    """Every operation class of Keras that is not a layer, by module and name."""
    own = {cls for cls in _below(Operation) if cls.__module__.startswith("keras.src.")}
    found = [cls for cls in own if not issubclass(cls, keras.layers.Layer)]
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


def _below(cls: type) -> Iterator[type]:
    found: list[type] = cls.__subclasses__()
    for sub in found:
        yield sub
        yield from _below(sub)


def is_in_graph(operation: Any) -> bool:
    """Whether an operation is part of a model's graph; else a layer's code has just made it."""
    return bool(operation._inbound_nodes)


def output_spec(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """The KerasTensors that an operation gives, by Keras's rule, but for the operations whose rule is wrong.

    Einsum's takes no letter that only the ellipsis of another operand has, and mixes up axes of equal letters;
    attention's gives the values' size as the queries'; normalization's gives float32 for any float; adaptive pooling's
    keeps a spatial axis; a convolution's refuses groups.
    """
    if isinstance(operation, nn.Conv):
        return _convolution_spec(operation, *args, **kwargs)
    if isinstance(operation, nn.AdaptiveAveragePool | nn.AdaptiveMaxPool):
        return _adaptive_spec(operation, args[0] if args else kwargs["inputs"])
    spec = operation.compute_output_spec(*args, **kwargs)
    if isinstance(operation, numpy.Einsum):
        shape = equation.result_shape(operation.subscripts, [tuple(x.shape) for x in args])
        return keras.KerasTensor(shape, dtype=spec.dtype)
    if isinstance(operation, nn.DotProductAttention):
        query, value = args[0], args[2] if len(args) > 2 else kwargs["value"]
        return keras.KerasTensor((*query.shape[:-1], value.shape[-1]), dtype=spec.dtype)
    if isinstance(operation, nn.Normalize):
        return keras.KerasTensor(spec.shape, dtype=backend.result_type(args[0].dtype, float))
    return spec


def _convolution_spec(operation: Any, inputs: Any, kernel: Any) -> Any:
    *kernel_size, _, filters = kernel.shape
    shape = operation_utils.compute_conv_output_shape(
        tuple(inputs.shape),
        filters,
        tuple(kernel_size),
        operation.strides,
        operation.padding,
        operation.data_format or keras.config.image_data_format(),
        operation.dilation_rate,
    )
    return keras.KerasTensor(shape, dtype=inputs.dtype)


def _adaptive_spec(operation: Any, x: Any) -> Any:
    count = len(x.shape) - 2
    sizes = (operation.output_size,) * count if isinstance(operation.output_size, int) else operation.output_size
    last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
    shape = (x.shape[0], *sizes, x.shape[-1]) if last else (*x.shape[:2], *sizes)
    return keras.KerasTensor(shape, dtype=x.dtype)


def input_structure(model: Any) -> Any:
    """The structure of KerasTensors a model is called with, or None when it was never built.

    Functional and Sequential models know their input tensors; a subclassed model knows the shapes it was built with.
    """
    if getattr(model, "_inputs_struct", None) is not None:
        return model._inputs_struct
    functional = getattr(model, "_functional", None)
    if functional is not None:
        return functional._inputs_struct
    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes:
        return None
    values = list(shapes.values())
    structure = values[0] if len(values) == 1 else values
    dtype = getattr(model, "input_dtype", None) or "float32"
    counter = iter(range(1_000_000))

    def leaf(shape: tuple[int | None, ...]) -> Any:
        return keras.KerasTensor((None, *shape[1:]), dtype=dtype, name=f"input_{next(counter)}")

    return _map_shapes(leaf, structure)


def _map_shapes(leaf: Callable[[Any], Any], structure: Any) -> Any:
    if isinstance(structure, dict):
        return {key: _map_shapes(leaf, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)) and any(isinstance(x, (list, tuple, dict)) for x in structure):
        return type(structure)(_map_shapes(leaf, value) for value in structure)
    return leaf(tuple(structure))


@contextlib.contextmanager
def float32_policies(model: Any) -> Iterator[None]:
    """For the length of the block, and in this thread, layers of any dtype policy compute in float32.

    The graph is the one of a float32 policy: what an engine computes in is its recipe's business, and neither TensorRT
    nor most kernels of ONNX Runtime know float64.
    """
    others = ("float16", "bfloat16", "float64")
    if not any(layer.compute_dtype in others for layer in model._flatten_layers()):
        yield
        return
    with _LOCK:
        owner, real = threading.get_ident(), keras.DTypePolicy.compute_dtype

        def compute_dtype(policy: Any) -> Any:
            dtype = real.fget(policy)
            return "float32" if dtype in others and threading.get_ident() == owner else dtype

        keras.DTypePolicy.compute_dtype = property(compute_dtype)
        try:
            yield
        finally:
            keras.DTypePolicy.compute_dtype = real


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
_OPERATORS = [
    *(f"__{side}{name}__" for name in _ARITHMETIC for side in ("", "r")),
    *(f"__{name}__" for name in ("lt", "le", "gt", "ge")),
]


@contextlib.contextmanager
def symbolic_calls(
    replacement: SymbolicCall, functions: Mapping[str, Function] | None = None, redirect: Redirect | None = None
) -> Iterator[None]:
    """For the length of the block, every symbolic call of an operation or a layer is ``replacement(self, *args, ...)``.

    These are replaced, under one lock, and put back in any case: `symbolic_call`; the `Node` constructor, so that the
    model's own graph is not written to; the ``functions`` by their names in `_places`; the backend functions that
    layers call directly, which become ``redirect(name, function, public operation)``, by default the public operation
    when an argument is symbolic; `tf.*` functions, the operators of TensorFlow's values and the layers of `tf_keras`,
    likewise; `custom_gradient`, which quantized layers are wrapped in; what looks at a new operation's arguments to be
    able to save it, and what asks TensorFlow whether a symbolic value is its own, since both are slow; the TensorFlow
    code that encodes categories where it can, which gives way to Keras's own; the random draws of augmentations, which
    several make at inference too and never use; fake quantization, which forgets arguments; ``==`` of a symbolic value,
    which Keras leaves to Python, so that it would be False. Other threads meanwhile see Keras as it was.
    """
    with _LOCK, contextlib.ExitStack() as undo:
        replace = _replacing(undo)
        replace(Operation, "symbolic_call", replacement)
        replace(keras.layers.Layer, "symbolic_call", replacement)
        replace(layer_module, "Node", _no_node)
        replace(keras.KerasTensor, "__eq__", _equal)
        undo.enter_context(_before_numpy())
        for name in _OPERATORS:
            replace(keras.KerasTensor, name, _with_arrays(getattr(keras.KerasTensor, name)))
        redirect, functions = redirect or redirected, functions or {}
        for key, function in functions.items():
            for place, name in _places()[key]:
                replace(place, name, function)
        for module, name, public in _backend_functions():
            if name not in functions:
                replace(module, name, redirect(name, getattr(module, name), public))
        if "tensorflow" in sys.modules:
            undo.enter_context(attributes.spoken())
        undo.enter_context(places.dispatched(has_symbolic))
        for module, name, adapter in places.redirections():
            replace(module, name, redirect("", getattr(module, name), adapter))
        live = live_layers.layer_class()
        if live is not None:
            replace(live, "__call__", redirect("", live.__call__, live_layers.called))
        for variable, name in places.writes():
            replace(variable, name, _no_write)
        for cls in (keras.Variable, *places.indexed()):
            replace(cls, "__getitem__", _indexed(cls.__getitem__))
        for cls in places.indexed():
            for name, public in OPERATORS.items():
                replace(cls, name, redirect("", getattr(cls, name), public))
        replace(backend.core, "custom_gradient", _without_gradient)
        replace(Operation, "__new__", _unsaved(Operation.__new__))
        for place in (backend, backend.core):
            replace(place, "is_tensor", _of_backend(place.is_tensor))
        for cls in _augmentations():
            replace(cls, "get_random_transformation", _drawn_for_training(vars(cls)["get_random_transformation"]))
        fake_quant = redirect("", quantizers.fake_quant_with_min_max_vars, fake_quantization.as_keras)
        for place in (keras.quantizers, quantizers):
            replace(place, "fake_quant_with_min_max_vars", fake_quant)
        encode = tf_utils.tf_encode_categorical_inputs
        replace(tf_utils, "tf_encode_categorical_inputs", redirect("", encode, _no_fast_path))
        yield


@contextlib.contextmanager
def _before_numpy() -> Iterator[None]:
    """Lets ``array - x`` be computed by a symbolic ``x``, as by a tensor, where NumPy would ask for its elements."""
    keras.KerasTensor.__array_ufunc__ = None
    try:
        yield
    finally:
        del keras.KerasTensor.__array_ufunc__


def _with_arrays(operator: Function) -> Function:
    """An operator of a symbolic value with a NumPy array, which takes the value's dtype as beside a tensor."""

    def computed(x: Any, other: Any) -> Any:
        numeric = isinstance(other, np.ndarray | np.generic) and x.dtype != "string"
        if numeric and np.can_cast(other.dtype, np.dtype(x.dtype), "same_kind"):
            other = other.astype(x.dtype)
        return operator(x, other)

    return computed


@contextlib.contextmanager
def lean_loading() -> Iterator[None]:
    """For the length of the block, and in this thread, a model is loaded in about the memory of its weights.

    Random initializers give zeros, since the file's weights take their place; large weights are read into memory that
    TensorFlow shares (`converters.variables`).
    """
    with _LOCK, contextlib.ExitStack() as undo:
        replace = _replacing(undo)
        for cls in (RandomInitializer, *_below(RandomInitializer)):
            if "__call__" in vars(cls) and cls.__module__.startswith("keras.src."):
                replace(cls, "__call__", _zeros)
        convert = backend.Variable._convert_to_tensor

        def shared(variable: Any, value: Any, dtype: Any = None) -> Any:
            value = _read_from_file(value) if hasattr(value, "read_direct") else value
            same = str(getattr(value, "dtype", "")) == variable.dtype
            return share(value) if same and is_aligned(value) else convert(variable, value, dtype)

        def entry(store: Any, key: str) -> Any:
            dataset = saving_lib.safe_get_h5_dataset(store._h5_entry_group, key)
            return get(store, key) if "dtype" in dataset.attrs else _read_from_file(dataset)

        get = saving_lib.H5IOStore.__getitem__
        replace(backend.Variable, "_convert_to_tensor", shared)
        replace(saving_lib.H5IOStore, "__getitem__", entry)
        yield


def _read_from_file(dataset: Any) -> Any:
    """An HDF5 dataset's numbers, large ones in memory that TensorFlow can share."""
    kind = str(dataset.dtype)
    if not can_share(dataset.shape, kind):
        return np.array(dataset)
    array = aligned(dataset.shape, kind)
    dataset.read_direct(array)
    return array


@contextlib.contextmanager
def uncopied_configs() -> Iterator[None]:
    """For the length of the block, and in this thread, a model's configuration is made of those of its layers, with no
    deep copy of them: for one who only reads it.
    """
    with _LOCK, contextlib.ExitStack() as undo:
        uncopied = types.SimpleNamespace(deepcopy=copy.deepcopy)
        _replacing(undo)(uncopied, "deepcopy", lambda config: config)
        for module in (functional, sequential):
            undo.callback(setattr, module, "copy", module.copy)
            module.copy = uncopied
        yield


def _zeros(initializer: Any, shape: Any, dtype: Any = None) -> Any:
    kind = keras.backend.standardize_dtype(dtype)
    return share(aligned(shape, kind)) if can_share(shape, kind) else keras.ops.zeros(shape, kind)


def _replacing(undo: contextlib.ExitStack) -> Callable[[Any, str, Function], None]:
    """A function that puts another one in a place, for this thread alone, until ``undo`` is closed."""
    owner = threading.get_ident()

    def replace(place: Any, name: str, value: Function) -> None:
        real, kept = getattr(place, name), vars(place).get(name)

        def function(*args: Any, **kwargs: Any) -> Any:
            return (value if threading.get_ident() == owner else real)(*args, **kwargs)

        undo.callback(setattr, place, name, kept or real)
        setattr(place, name, function)

    return replace


@contextlib.contextmanager
def global_state_kept() -> Iterator[None]:
    """Puts back what Keras keeps for the thread: automatic names, the default random seed, settings. One at a time."""
    trackers = (global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER)
    with _LOCK:
        kept = [dict(vars(tracker)) for tracker in trackers]
        names = dict(kept[0].get("object_name_uids") or {})
        try:
            yield
        finally:
            waiting = vars(trackers[0]).get(_WAITING)  # Keras's own list, which it empties once they have their values
            for tracker, before in zip(trackers, kept, strict=True):
                vars(tracker).clear()
                vars(tracker).update(before)
            global_state.set_global_attribute(_WAITING, waiting)
            if "object_name_uids" in kept[0]:
                kept[0]["object_name_uids"].clear()
                kept[0]["object_name_uids"].update(names)


def _places() -> dict[str, list[tuple[Any, str]]]:
    """Where Keras's code has what `converters.tracing.substitutes.functions` replaces: (module or class, name)."""
    loops = ("while_loop", "fori_loop", "scan", "map", "vectorized_map", "switch")
    return {
        **{name: [(backend, name)] for name in ("rnn", "lstm", "gru")},
        **{name: [(backend.core, name)] for name in loops},
        "dropout_mask": [(DropoutRNNCell, "get_dropout_mask")],
        "recurrent_dropout_mask": [(DropoutRNNCell, "get_recurrent_dropout_mask")],
        "time_distributed": [(keras.layers.TimeDistributed, "call")],
        "shape": [(keras.ops, "shape"), (ops, "shape"), (core, "shape"), (backend, "shape"), (backend.core, "shape")],
    }


def _no_write(*args: Any, **kwargs: Any) -> None:
    """Stands in for what changes a tf.Variable: Keras's own are not written to in a StatelessScope, a raw one would."""
    raise ConversionError("it writes to a tf.Variable", fix="pass the state in and out of the model")


def _indexed(get_item: Function) -> Function:
    """Stands in for the indexing of a variable or a constant: an operation where an index is a value of the graph."""

    def indexed(self: Any, key: Any) -> Any:
        items = key if isinstance(key, tuple | list) else [key]
        bounds = [bound for x in items for bound in ((x.start, x.stop) if isinstance(x, slice) else (x,))]
        if any(is_computed(bound) for bound in bounds):
            return numpy.GetItem().symbolic_call(self, key)
        return get_item(self, key)

    return indexed


def _without_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stands in for custom_gradient: what the function computes, without the gradient it gives beside it."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        outputs, _ = function(*args, **kwargs)
        return outputs

    return forward


def _unsaved(new: Function) -> Function:
    """Stands in for `Operation.__new__`: no operation that is made while tracing is saved, but a layer may be."""

    def bare(cls: type, *args: Any, **kwargs: Any) -> Any:
        if issubclass(cls, keras.layers.Layer) or is_nnx_enabled():
            return new(cls, *args, **kwargs)
        operation: Any = object.__new__(cls)
        vars(operation).update(_auto_config=None, _lock=True)
        return operation

    return bare


def _of_backend(is_tensor: Function) -> Function:
    """Stands in for is_tensor: these are none. TensorFlow would look for each attribute of a tensor in them."""
    none = (keras.KerasTensor, int, float, str, list, tuple, dict, type(None))
    return lambda x: not isinstance(x, none) and is_tensor(x)


def _augmentations() -> list[type]:
    """The layers that change images at random in training alone (RandomCrop crops the centre at inference)."""
    family = BaseImagePreprocessingLayer.__subclasses__()
    names = ("Random", "MixUp", "CutMix", "AugMix", "RandAugment")
    found = [cls for cls in family if cls.__name__.startswith(names) and cls.__name__ != "RandomCrop"]
    return [cls for cls in found if "get_random_transformation" in vars(cls)]


def _drawn_for_training(draw: Function) -> Function:
    def get_random_transformation(self: Any, data: Any, training: bool = True, seed: Any = None) -> Any:
        return draw(self, data, training=training, seed=seed) if training else None

    return get_random_transformation


def _equal(x: keras.KerasTensor, other: Any) -> Any:
    """``x == other`` as a tensor has it: of each element where the other is a number or an array, else False."""
    comparable = isinstance(other, bool | int | float | list | tuple) or hasattr(other, "dtype")
    return numpy.Equal().symbolic_call(x, other) if comparable else x is other


def _no_fast_path(*args: Any, **kwargs: Any) -> None:
    """What Keras takes as the sign that its own code has to encode the categories."""
    raise ValueError


def _no_node(*args: Any, **kwargs: Any) -> None:
    """Stands in for Node while tracing: nothing is recorded in the model."""


def _backend_functions() -> list[tuple[Any, str, Callable[..., Any]]]:
    """(module, name, public operation) of each backend function that has a namesake in keras.ops."""
    found = []
    concrete = sys.modules[backend.core.__name__.rpartition(".")[0]]  # what preprocessing layers call self.backend
    for module in (backend.numpy, backend.nn, backend.math, backend.image, backend.linalg, backend, concrete):
        namesakes = keras.ops.image if module is backend.image else keras.ops
        for name, own in vars(module).items():
            public = getattr(namesakes, name, None)
            if callable(public) and callable(own) and not isinstance(own, type) and name != "is_tensor":
                found.append((module, name, public))
    for name in ("cast", "convert_to_tensor", "shape", "stop_gradient"):
        found.append((backend.core, name, getattr(keras.ops, name)))
    return found


def redirected(name: str, real: Function, public: Function) -> Function:
    """A function that is ``public`` when an argument is symbolic."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return (public if any_symbolic_tensors(args, kwargs) else real)(*args, **kwargs)

    return function
