"""How operations that run functions of their own are traced: branches, loops, scans, recurrent steps.

A loop of a few steps that is known to end is unrolled. All others become one call (`If`, `Loop` or `Scan`) with the
functions they run as its bodies. A value from outside that a function uses stays that value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops, tree

from converters.tracing import sizes
from converters.tracing.recording import Recorder
from converters.tracing.unknown_sizes import has_size, number
from deploy.errors import ConversionError

UNROLL = 8
"""A loop of up to so many steps is unrolled."""

_SAME = "let both give tensors of the same dtypes and ranks"


@dataclass(frozen=True)
class If:
    """One of two bodies without inputs, by a boolean scalar."""

    name = "cond"


@dataclass(frozen=True)
class Loop:
    """A body again and again, on (number of the step, values): the values it gives go into the next one.

    Called with the number of steps (or None), the first number where it is not zero, and the values. A second body on
    the values says whether to go on.
    """

    from_zero: bool = True
    name = "while_loop"


@dataclass(frozen=True)
class Scan:
    """A body for each slice of some tensors along their first axis, on (state, slices): gives (state, outputs).

    Called with the first state and the tensors. ``backwards``: from the last slice; ``in_place``: the outputs lie where
    their slices do, else in the order of the steps.
    """

    backwards: bool
    in_place: bool
    length: int | None
    name = "scan"


def cond(recorder: Recorder, operation: Any, pred: Any, true_fn: Any, false_fn: Any) -> Any:
    """``ops.cond`` with a computed condition. Raises ConversionError for branches whose outputs differ in kind."""
    bodies, outputs = zip(*(recorder.trace_body(function) for function in (true_fn, false_fn)), strict=True)
    specs = _joined(*outputs, what="the two branches of a cond")
    return recorder.record(If(), (pred,), specs, bodies)


def switch(recorder: Recorder, operation: Any, index: Any, branches: Sequence[Any], *operands: Any) -> Any:
    """``ops.switch``: a chain of conditions; an index out of range takes the first or the last branch."""

    def choose(place: int) -> Any:
        if place == len(branches) - 1:
            return branches[place](*operands)
        return ops.cond(index <= place, lambda: branches[place](*operands), lambda: choose(place + 1))

    if not isinstance(index, KerasTensor):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    return choose(0)


def while_loop(recorder: Recorder, operation: Any, loop_vars: Any) -> Any:
    """``ops.while_loop``, unrolled where the condition is known for each of a few steps."""
    single = not isinstance(loop_vars, tuple | list)
    values = (loop_vars,) if single else tuple(loop_vars)
    limit = operation.maximum_iterations

    def body(*given: Any) -> tuple[Any, ...]:
        found = operation.body(*given)
        return (found,) if single else tuple(found)

    def unrolled() -> Any:
        now = values
        for step in range(UNROLL + 1):
            goes_on = operation.cond(*now)
            if isinstance(goes_on, KerasTensor):
                return None
            if not bool(ops.convert_to_numpy(goes_on)) or step == limit:
                return now
            now = body(*now)
        return None

    outputs = recorder.attempt(unrolled)
    if outputs is None:
        specs = tree.map_structure(_spec, values)
        counter = KerasTensor((), "int32")
        step, found = recorder.trace_body(lambda i, *given: body(*given), counter, *specs)
        test, _ = recorder.trace_body(operation.cond, *specs)
        outputs = _joined(specs, found, what="the values of a loop")
        recorder.record(Loop(), (limit, *tree.flatten(values)), outputs, (step, test))
    return outputs[0] if single else outputs


def fori_loop(recorder: Recorder, operation: Any, init_val: Any) -> Any:
    """``ops.fori_loop`` over bounds that are known (unrolled when few) or computed."""
    lower, upper, function = (number(x) for x in (operation.lower, operation.upper, operation.body_fun))
    known = not isinstance(lower, KerasTensor) and not isinstance(upper, KerasTensor)
    if known and int(upper) - int(lower) <= UNROLL:
        for i in range(int(lower), int(upper)):
            init_val = function(ops.convert_to_tensor(i, "int32"), init_val)
        return init_val
    count = int(upper) - int(lower) if known else upper - lower
    specs = tree.map_structure(_spec, init_val)
    step, found = recorder.trace_body(function, KerasTensor((), "int32"), specs)
    outputs = _joined(specs, found, what="the values of a loop")
    start = np.asarray(lower, np.int32) if known else lower
    return recorder.record(Loop(from_zero=False), (count, start, *tree.flatten(init_val)), outputs, (step,))


def scan(recorder: Recorder, operation: Any, f: Any, init: Any, xs: Any = None) -> Any:
    """``ops.scan``."""
    reverse = bool(operation.reverse)
    return run(recorder, f, init, xs, operation.length, backwards=reverse, in_place=True)


def map_(recorder: Recorder, operation: Any, f: Any, xs: Any) -> Any:
    """``ops.map``, and ``ops.vectorized_map``, which gives the same: a scan without a state."""
    _, ys = run(recorder, lambda _, x: ((), f(x)), (), xs, None, backwards=False, in_place=True)
    return ys


def vectorized_map(recorder: Recorder, operation: Any, elements: Any) -> Any:
    return map_(recorder, operation, operation.function, elements)


def associative_scan(recorder: Recorder, operation: Any, f: Any, elems: Any) -> Any:
    """``ops.associative_scan`` over a known size: pairs are combined, their results scanned, the rest filled in.

    Blelloch 1990, "Prefix sums and their applications": of order log(size) calls of ``f``, each on slices.
    """
    axis, reverse = operation.axis, operation.reverse
    flat = tree.flatten(elems)
    if flat[0].shape[axis] is None:
        raise ConversionError("an associative_scan needs a known size", fix="give it with --shapes")

    def part(x: Any, *bounds: int | None) -> Any:
        return x[(slice(None),) * (axis % len(x.shape)) + (slice(*bounds),)]

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        packed = f(tree.pack_sequence_as(elems, a), tree.pack_sequence_as(elems, b))
        return list(tree.flatten(packed))

    def interleave(even: Any, odd: Any) -> Any:
        count = odd.shape[axis]
        pairs = ops.stack([part(even, 0, count), odd], axis=axis % len(odd.shape) + 1)
        joined = list(odd.shape)
        joined[axis] = 2 * count
        pairs = ops.reshape(pairs, sizes.given(joined))
        return pairs if even.shape[axis] == count else ops.concatenate([pairs, part(even, count, None)], axis=axis)

    def prefix(xs: list[Any]) -> list[Any]:
        size = xs[0].shape[axis]
        if size < 2:
            return xs
        odd = prefix(combine([part(x, 0, size - 1, 2) for x in xs], [part(x, 1, None, 2) for x in xs]))
        if size == 2:
            return [ops.concatenate([part(x, 0, 1), y], axis=axis) for x, y in zip(xs, odd, strict=True)]
        before = [part(y, 0, (size - 1) // 2) for y in odd]
        even = combine(before, [part(x, 2, None, 2) for x in xs])
        even = [ops.concatenate([part(x, 0, 1), y], axis=axis) for x, y in zip(xs, even, strict=True)]
        return [interleave(x, y) for x, y in zip(even, odd, strict=True)]

    flat = [ops.flip(x, axis) for x in flat] if reverse else flat
    found = prefix(flat)
    return tree.pack_sequence_as(elems, [ops.flip(x, axis) for x in found] if reverse else found)


def run(
    recorder: Recorder, f: Any, init: Any, xs: Any, length: int | None, *, backwards: bool, in_place: bool
) -> tuple[Any, Any]:
    """Carries a state through ``(state, y) = f(state, x)`` over the first axis of ``xs``; gives it and all ``y``.

    Unrolled over a few steps, else a `Scan`. Raises ConversionError for a state that changes its shape or dtype.
    """
    flat = [x for x in tree.flatten(xs) if x is not None]
    count = int(length) if length is not None else flat[0].shape[0]
    if count is not None and 0 < count <= UNROLL:
        return _unrolled(f, init, xs, count, backwards=backwards, in_place=in_place)
    if not flat:
        flat = [np.zeros(count or 0, np.bool_)]  # a Scan needs something to step over
    state = tree.map_structure(_spec, init)
    slices = [KerasTensor(tuple(x.shape[1:]), keras.backend.standardize_dtype(x.dtype)) for x in flat]

    def step(state: Any, *given: Any) -> Any:
        return f(state, None if xs is None else tree.pack_sequence_as(xs, list(given)))

    body, (found, y) = recorder.trace_body(step, state, *slices)
    final = _joined(state, found, what="the state of a scan")
    y = tree.map_structure(_spec, y)
    ys = tree.map_structure(lambda t: None if t is None else KerasTensor((count, *t.shape), t.dtype), y)
    operation = Scan(backwards, in_place, count)
    recorder.record(operation, (tuple(tree.flatten(init)), tuple(flat)), (final, ys), (body,))
    return final, ys


def _unrolled(f: Any, state: Any, xs: Any, count: int, *, backwards: bool, in_place: bool) -> tuple[Any, Any]:
    found = []
    for place in reversed(range(count)) if backwards else range(count):
        state, y = f(state, None if xs is None else tree.map_structure(lambda x, i=place: x[i], xs))
        found.append(y)
    if backwards and in_place:
        found.reverse()
    return state, tree.map_structure(lambda *leaves: None if leaves[0] is None else ops.stack(leaves), *found)


def rnn(
    recorder: Recorder,
    step_function: Any,
    inputs: Any,
    initial_states: Any,
    go_backwards: bool = False,
    mask: Any = None,
    constants: Any = None,
    unroll: bool = False,
    input_length: Any = None,
    time_major: bool = False,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Any, Any, Any]:
    """Stands in for `keras.src.backend.rnn`: (last output, all outputs in the order of the steps, last states).

    A step that does not count keeps the states, and gives the output before it (or zero); before the first step that
    counts that is zero, even where the initial state is not.
    """
    if isinstance(input_length, KerasTensor):
        raise ConversionError(
            "a recurrent layer over lengths that are computed has no lowering", fix="give it the lengths as a mask"
        )
    xs = inputs if time_major else tree.map_structure(lambda x: ops.swapaxes(x, 0, 1), inputs)
    steps = [] if mask is None else [_time_first(mask, time_major=time_major)]
    states = list(initial_states)
    extra = tuple(constants or ())

    def call(x: Any, states: Any) -> tuple[Any, Any]:
        output, new = step_function(x, (*states, *extra))
        return output, tree.pack_sequence_as(states, tree.flatten(new))

    first = tree.map_structure(lambda x: x[0], xs)
    probe, (output, _) = recorder.trace_body(lambda *_: call(first, states), keep=False)
    is_state = not steps and any(probe.outputs[0] is x for x in probe.outputs[1:])
    place = next((i for i, x in enumerate(probe.outputs[1:]) if x is probe.outputs[0]), 0)

    def step(carry: Any, x: Any) -> Any:
        states, before = carry
        output, new = call(x[0], states)
        if steps:
            new = tree.map_structure(lambda a, b: _where(x[1], a, b), new, states)
            output = _where(x[1], output, ops.zeros_like(output) if zero_output_for_mask else before)
        return (new, () if is_state else output), output if return_all_outputs else None

    batch = sizes.shape(recorder, tree.flatten(inputs)[0])[1 if time_major else 0]
    before = () if is_state else _first_output(recorder, output, batch)
    carry, ys = run(recorder, step, (states, before), (xs, *steps), None, backwards=go_backwards, in_place=False)
    states, last = carry
    if is_state:
        last = tree.flatten(states)[place]
    if ys is None:
        ys = ops.expand_dims(last, 0)
    return last, ys if time_major else ops.swapaxes(ys, 0, 1), states


def _time_first(mask: Any, *, time_major: bool) -> Any:
    mask = ops.cast(mask, "bool")
    mask = ops.expand_dims(mask, -1) if len(mask.shape) == 2 else mask
    return mask if time_major else ops.swapaxes(mask, 0, 1)


def _where(counts: Any, new: Any, old: Any) -> Any:
    for _ in range(len(new.shape) - len(counts.shape)):
        counts = ops.expand_dims(counts, -1)
    return ops.where(counts, new, old)


def _first_output(recorder: Recorder, output: Any, batch: Any) -> Any:
    """Zeros like what a step gives; its unknown size is the batch's."""
    spec = _spec(output)
    target = [batch if size is None else size for size in spec.shape]
    if None in spec.shape[1:]:
        raise ConversionError("a recurrent layer's output has an unknown size", fix="give sizes with --shapes")
    if has_size(target):
        return sizes.full(recorder, target, 0, spec.dtype)
    return ops.zeros(target, spec.dtype)


def _spec(x: Any) -> Any:
    """A symbolic tensor of the shape and dtype of a value or constant; None stays."""
    if x is None:
        return None
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        x = ops.convert_to_tensor(x)
    return KerasTensor(tuple(x.shape), keras.backend.standardize_dtype(x.dtype))


def _joined(first: Any, second: Any, *, what: str) -> Any:
    """The structure that stands for both: a size that differs is unknown. ConversionError for two that differ."""

    def join(a: Any, b: Any) -> Any:
        a, b = _spec(a), _spec(b)
        if a is None and b is None:
            return None
        if a is None or b is None or a.dtype != b.dtype or len(a.shape) != len(b.shape):
            raise ConversionError(f"{what} differ", expected=str(a), found=str(b), fix=_SAME)
        return KerasTensor(tuple(x if x == y else None for x, y in zip(a.shape, b.shape, strict=True)), a.dtype)

    try:
        return tree.map_structure(join, first, second)
    except (ValueError, TypeError) as error:
        raise ConversionError(
            f"{what} differ in structure", expected=str(first), found=str(second), fix=_SAME
        ) from error
