"""What stands in for a function or an operation of Keras while a model is traced, and why each one needs it.

`RULES`: operations that run functions of their own, or whose arguments may be sizes or indices that only the graph
knows. `functions`: places in Keras's code where a loop would run, or a random state be written, that is no operation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops, tree

from converters.fake_quantization import affine
from converters.keras_internals import any_symbolic_tensors, core, image, is_in_graph, linalg, quantizers
from converters.keras_internals import numpy as knp
from converters.openings import decomposition
from converters.tensorflow_adapters.signals import has_complex
from converters.tracing import control_flow, sizes
from converters.tracing.recording import Recorder, Rule
from converters.tracing.unknown_sizes import Size, has_size, number
from deploy.errors import ConversionError


def get_item(recorder: Recorder, operation: Any, x: Any, key: Any) -> Any:
    """Indexing: a tensor among the indices becomes a `take` along its axis, a constant one a number."""
    x, given = sizes.cut(recorder, x, key if isinstance(key, tuple | list) else [key])
    keys = [_index(item) for item in given]
    if not isinstance(x, KerasTensor) and not any(isinstance(item, KerasTensor) for item in keys):
        return x[tuple(keys)]
    places = [place for place, item in enumerate(keys) if isinstance(item, KerasTensor)]
    if len(places) != 1:
        return recorder.plain(operation, x, tuple(keys))
    (place,) = places
    index, keys[place] = keys[place], slice(None)
    if any(item is Ellipsis for item in keys[:place]):
        axis = sum(1 for item in keys[place:] if item is not None)
        kept = -axis + sum(isinstance(item, int) for item in keys[place:])
    else:
        kept = sum(not isinstance(item, int) for item in keys[:place])
    if any(item != slice(None) for item in keys if item is not Ellipsis):
        x = recorder.plain(operation, x, tuple(keys))
    return ops.take(x, index, axis=kept)


def norm(recorder: Recorder, operation: Any, x: Any) -> Any:
    """The norms of matrices that need singular values are opened, all others lowered."""
    axes = operation.axis if operation.axis is not None else range(len(x.shape))
    if len(axes) != 2 or operation.ord not in ("nuc", 2, -2):
        return recorder.plain(operation, x)
    first, second = axes
    return decomposition.spectral_norm(x, operation.ord, (first, second), keepdims=operation.keepdims)


def where(recorder: Recorder, operation: Any, condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """Of a condition alone it is `nonzero`."""
    return ops.nonzero(condition) if x1 is None and x2 is None else recorder.plain(operation, condition, x1, x2)


def ndim(recorder: Recorder, operation: Any, x: Any) -> int:
    """A rank is a Python number: code that merges values of several ranks counts with it."""
    return len(x.shape)


def _index(item: Any) -> Any:
    item = number(item) if isinstance(item, Size) else item
    if isinstance(item, KerasTensor | slice) or item is None or item is Ellipsis:
        return item
    if hasattr(item, "dtype") and np.ndim(item) == 0 and keras.backend.standardize_dtype(item.dtype) != "bool":
        return int(item)
    return item


def _with_sizes(attribute: str, function: Callable[..., Any]) -> Rule:
    """The rule of an operation whose ``attribute`` may hold unknown sizes: then ``function`` takes its place."""

    def rule(recorder: Recorder, operation: Any, x: Any) -> Any:
        given = getattr(operation, attribute)
        if not has_size(given):
            return recorder.plain(operation, x)
        return function(recorder, operation, x, given)

    return rule


def _fake_quant(recorder: Recorder, operation: Any, inputs: Any, min_vals: Any, max_vals: Any) -> Any:
    """Of a functional model, which computes with the arguments that Keras kept; else they are lost."""
    if not is_in_graph(operation) or any_symbolic_tensors((min_vals, max_vals)):
        return recorder.plain(operation, inputs, min_vals, max_vals)
    given = operation.num_bits, operation.narrow_range, operation.axis
    return affine(inputs, min_vals, max_vals, given[0], narrow=given[1], axis=given[2])


def _slice(recorder: Recorder, operation: Any, x: Any, start_indices: Any) -> Any:
    if not has_size(operation.shape):
        return recorder.plain(operation, x, start_indices)
    return sizes.slice_(recorder, x, start_indices, operation.shape)


RULES: dict[type, Rule] = {
    core.AssociativeScan: control_flow.associative_scan,
    core.Cond: control_flow.cond,
    core.ForiLoop: control_flow.fori_loop,
    core.Map: control_flow.map_,
    core.Scan: control_flow.scan,
    core.Slice: _slice,
    core.SliceUpdate: sizes.slice_update,
    core.Switch: control_flow.switch,
    core.VectorizedMap: control_flow.vectorized_map,
    core.WhileLoop: control_flow.while_loop,
    quantizers.FakeQuantWithMinMaxVars: _fake_quant,
    linalg.Norm: norm,
    knp.BroadcastTo: _with_sizes("shape", lambda r, op, x, shape: sizes.broadcast_to(r, x, shape)),
    knp.Full: _with_sizes("shape", lambda r, op, x, shape: sizes.full(r, shape, x, op.dtype)),
    knp.GetItem: get_item,
    knp.Ndim: ndim,
    knp.Repeat: _with_sizes("repeats", lambda r, op, x, repeats: sizes.repeat(r, x, repeats, op.axis)),
    knp.Reshape: sizes.reshape,
    knp.Where: where,
    image.Resize: sizes.resize,
    knp.Tile: _with_sizes("repeats", lambda r, op, x, repeats: sizes.tile(r, x, repeats)),
}


def rule_of(operation: Any, *args: Any, **kwargs: Any) -> Rule | None:
    """The rule of an operation on these arguments, or None where it is recorded as it is."""
    rule = RULES.get(type(operation))
    return _on_numbers if rule is None and has_size(args, kwargs) else rule


def _on_numbers(recorder: Recorder, operation: Any, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = tree.map_structure(number, (args, kwargs))
    return recorder.symbolic_call(operation, *args, **kwargs)


def redirect(recorder: Recorder) -> Callable[..., Callable[..., Any]]:
    """What a function of Keras's backend becomes: the public operation where an argument is symbolic or a size."""

    def redirected(name: str, real: Callable[..., Any], public: Callable[..., Any]) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            if any_symbolic_tensors(args, kwargs):
                return public(*args, **kwargs)
            if has_complex(args, kwargs):
                if not name:  # an adapter
                    return public(*args, **kwargs)
                raise ConversionError(
                    f"{name} of a complex value",
                    fix="write it with the real and the imaginary part (tf.math.real, tf.math.imag)",
                )
            if not has_size(args, kwargs):
                return args[0] if name == "cast" and _needs_no_cast(*args, **kwargs) else real(*args, **kwargs)
            if not name:  # the adapters of tf.* have no name here, and hand sizes on
                return public(*args, **kwargs)
            if name in sizes.FUNCTIONS:
                return sizes.FUNCTIONS[name](recorder, *args, **kwargs)
            args, kwargs = tree.map_structure(number, (args, kwargs))
            return public(*args, **kwargs)

        return function

    return redirected


def _needs_no_cast(x: Any, dtype: Any = None) -> bool:
    """Whether x is a variable of that dtype: it goes on as one, so that it's read once and not copied."""
    return isinstance(x, keras.Variable) and x.dtype == keras.backend.standardize_dtype(dtype)


def functions(recorder: Recorder) -> dict[str, Callable[..., Any]]:
    """Name in `keras_internals.places` -> what is called there instead."""
    return {
        "rnn": functools.partial(control_flow.rnn, recorder),
        "lstm": _not_implemented,  # the layer then runs its cell step by step
        "gru": _not_implemented,
        "dropout_mask": lambda cell, step_input: None,  # drawn beforehand by RNN.call, not used at inference
        "recurrent_dropout_mask": lambda cell, step_input: None,
        "time_distributed": functools.partial(time_distributed, recorder),
        "shape": lambda x: sizes.shape(recorder, x) if isinstance(x, KerasTensor) else tuple(x.shape),
        "while_loop": lambda cond, body, loop_vars, maximum_iterations=None: core.WhileLoop(
            cond, body, maximum_iterations
        ).symbolic_call(loop_vars),
        "fori_loop": lambda lower, upper, body_fun, init_val: core.ForiLoop(lower, upper, body_fun).symbolic_call(
            init_val
        ),
        "scan": lambda f, init, xs=None, length=None, reverse=False, unroll=1: core.Scan(length, reverse).symbolic_call(
            f, init, xs
        ),
        "map": lambda f, xs: core.Map().symbolic_call(f, xs),
        "vectorized_map": lambda function, elements: core.VectorizedMap(function).symbolic_call(elements),
        "switch": lambda index, branches, *operands: core.Switch().symbolic_call(index, branches, *operands),
    }


def _not_implemented(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError


def time_distributed(recorder: Recorder, layer: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
    """Stands in for `TimeDistributed.call`: time joins the batch, where the inner layer treats each row by itself.

    For a user's own layer, which may not, it is one call a step, or a scan over an unknown number of steps.
    """
    inner = layer.layer
    masked = inner._call_has_mask_arg and mask is not None

    def call(x: Any, mask: Any) -> Any:
        kwargs = {"training": training} if inner._call_has_training_arg else {}
        return inner_call(x, **kwargs, **({"mask": mask} if masked else {}))

    def inner_call(x: Any, **kwargs: Any) -> Any:
        return recorder.symbolic_call(inner, x, **kwargs)

    if rows_are_independent(inner):
        shape = sizes.shape(recorder, inputs)
        outputs = call(_join_time(recorder, inputs), _join_time(recorder, mask) if masked else None)
        return tree.map_structure(lambda y: ops.reshape(y, (*shape[:2], *sizes.shape(recorder, y)[1:])), outputs)
    first = ops.swapaxes(inputs, 0, 1)
    given = (first, ops.swapaxes(mask, 0, 1)) if masked else (first,)
    outputs = ops.map(lambda x: call(x[0], x[1] if masked else None), given)
    return tree.map_structure(lambda y: ops.swapaxes(y, 0, 1), outputs)


def _join_time(recorder: Recorder, x: Any) -> Any:
    return ops.reshape(x, (-1, *sizes.shape(recorder, x)[2:]))


def rows_are_independent(layer: Any) -> bool:
    """Whether each row of a layer's output surely depends on that row of its input alone.

    So it is for Keras's own layers at inference, unless they work along axis 0; not known of a user's code.
    """
    if not type(layer).__module__.startswith("keras.") or isinstance(layer, layers.Lambda):
        return False
    axes = getattr(layer, "axis", None), getattr(layer, "axes", None)
    if 0 in tree.flatten(axes):
        return False
    parts = [getattr(layer, name, None) for name in ("activation", "recurrent_activation")]
    if any(callable(part) and not _of_keras(part) for part in parts):
        return False
    if isinstance(layer, keras.Model) and not all(
        isinstance(x, layers.Layer) for x in getattr(layer, "operations", ())
    ):
        return False
    return all(rows_are_independent(child) for child in layer._flatten_layers(include_self=False, recursive=False))


def _of_keras(part: Any) -> bool:
    return str(getattr(part, "__module__", None) or type(part).__module__).startswith("keras.")
