"""Adapters of TensorFlow's control flow: its functions are traced as those of `keras.ops` are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops, tree

from converters.tensorflow_adapters import Adapter


def cond(pred: Any, true_fn: Any = None, false_fn: Any = None, name: str | None = None) -> Any:
    return ops.cond(pred, true_fn, false_fn)


def case(
    pred_fn_pairs: Any, default: Any = None, exclusive: bool = False, strict: bool = False, name: str = "case"
) -> Any:
    pairs = list(pred_fn_pairs.items() if isinstance(pred_fn_pairs, Mapping) else pred_fn_pairs)
    if default is None:  # the last function is then as good as any: TensorFlow raises if none holds
        *pairs, (_, default) = pairs
    if not pairs:
        return default()
    (pred, function), *rest = pairs
    return ops.cond(pred, function, lambda: case(rest, default))


def switch_case(branch_index: Any, branch_fns: Any, default: Any = None, name: str = "switch_case") -> Any:
    functions = branch_fns.items() if isinstance(branch_fns, Mapping) else branch_fns
    pairs = [pair if isinstance(pair, Sequence) else (place, pair) for place, pair in enumerate(functions)]
    return case([(ops.equal(branch_index, key), function) for key, function in pairs], default or pairs[-1][1])


def while_loop(
    cond: Any, body: Any, loop_vars: Any, shape_invariants: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, maximum_iterations: Any = None, name: str | None = None,
) -> Any:  # fmt: skip
    def step(*values: Any) -> tuple[Any, ...]:
        found = body(*values)
        return tuple(found) if isinstance(found, list | tuple) else (found,)

    limit = None if maximum_iterations is None else int(maximum_iterations)
    found = ops.while_loop(cond, step, tuple(loop_vars), limit)
    return tree.pack_sequence_as(loop_vars, tree.flatten(found))


def map_fn(
    fn: Any, elems: Any, dtype: Any = None, parallel_iterations: Any = None, back_prop: bool = True,
    swap_memory: bool = False, infer_shape: bool = True, name: str | None = None, fn_output_signature: Any = None,
) -> Any:  # fmt: skip
    return ops.map(fn, elems)


def vectorized_map(fn: Any, elems: Any, fallback_to_while_loop: bool = True, warn: bool = True) -> Any:
    return ops.vectorized_map(fn, elems)


def scan(
    fn: Any, elems: Any, initializer: Any = None, parallel_iterations: int = 10, back_prop: bool = True,
    swap_memory: bool = False, infer_shape: bool = True, reverse: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    def step(state: Any, x: Any) -> tuple[Any, Any]:
        state = fn(state, x)
        return state, state

    if initializer is not None:
        return ops.scan(step, initializer, elems, reverse=reverse)[1]
    first = tree.map_structure(lambda x: x[-1] if reverse else x[0], elems)
    rest = tree.map_structure(lambda x: x[:-1] if reverse else x[1:], elems)
    _, found = ops.scan(step, first, rest, reverse=reverse)

    def joined(x: Any, y: Any) -> Any:
        x = ops.expand_dims(x, 0)
        return ops.concatenate([y, x] if reverse else [x, y])

    return tree.map_structure(joined, first, found)


def fold(*, reverse: bool) -> Adapter:
    def folded(
        fn: Any, elems: Any, initializer: Any = None, parallel_iterations: int = 10, back_prop: bool = True,
        swap_memory: bool = False, name: str | None = None,
    ) -> Any:  # fmt: skip
        found = scan(fn, elems, initializer, reverse=reverse)
        return tree.map_structure(lambda x: x[0] if reverse else x[-1], found)

    return folded


def function(decorated: Any, *args: Any, **kwargs: Any) -> Any:
    """A tf.function: its Python code. What AutoGraph would make of an ``if`` on a tensor is refused by Keras."""
    return decorated.python_function(*args, **kwargs)
