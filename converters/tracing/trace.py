"""Runs a Keras model once on symbolic values and writes down the operations it consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import KerasTensor, tree

from converters import keras_internals
from converters.tracing import repeatable, substitutes
from converters.tracing.recording import Body, Call, LayerCall, Recorder, Weight, reason
from deploy.errors import ConversionError

__all__ = ["Body", "Call", "LayerCall", "Trace", "Weight", "trace", "written_variables"]


@dataclass(frozen=True)
class Trace:
    """A model as a flat list of calls, in order of execution; every KerasTensor stands for one value.

    ``inputs`` and ``outputs`` are (name, KerasTensor) in the model's order.
    """

    inputs: tuple[tuple[str, KerasTensor], ...]
    calls: tuple[Call, ...]
    outputs: tuple[tuple[str, KerasTensor], ...]
    layers: tuple[LayerCall, ...]


def input_tensors(model: Any, shapes: Mapping[str, Sequence[int | None]] | None = None) -> Any:
    """The structure of KerasTensors that a built model is traced with, each of its input's name in the graph.

    Raises ConversionError where the model was never built, and where ``shapes`` (as `trace` takes it) does not fit it.
    """
    structure = keras_internals.input_structure(model)
    if structure is None or not model.built:
        raise ConversionError(
            "the model was never built, so its input shapes are unknown",
            where=_name(model),
            expected="a model that was called once, or built with build(input_shape)",
            fix="call the model on one batch before converting it",
        )
    known = _input_names(structure)
    for name in shapes or {}:
        if name not in known:
            raise ConversionError(
                "the model has no input of that name",
                where=f"--shapes {name}",
                expected=" or ".join(known),
                fix="name the model's own inputs",
            )
    names = iter(known)
    return tree.map_structure(lambda x: _input(x, next(names), shapes or {}), structure)


def trace(
    model: Any,
    *,
    is_leaf: Callable[..., bool] = lambda layer, *args, **kwargs: False,
    is_known: Callable[[Any], bool] = lambda operation: True,
    opening_of: Callable[[Any], Callable[..., Any] | None] = lambda operation: None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> Trace:
    """Traces a built Keras model for inference (``training=False``).

    Args:
        model: a Functional, Sequential or subclassed model, built.
        is_leaf: says of a layer and the arguments of its call that it shall be recorded as one and not opened.
        is_known: says of an operation that it can be lowered; a layer with another one inside is not opened.
        opening_of: what an operation consists of (see `registry.opens`), or None.
        shapes: input name -> shape (batch included, None where unknown), for inputs with unknown sizes.

    Raises:
        ConversionError: the model was never built, has an unknown size that a layer needs, or writes to its own state
            at inference (a stateful layer). The model is left as it was in every case.
    """
    inputs = input_tensors(model, shapes)
    recorder = Recorder(is_leaf, is_known, opening_of, substitutes.rule_of)
    outputs = _run(model, inputs, recorder)
    if repeatable.has_own_code(model):
        again = Recorder(is_leaf, is_known, opening_of, substitutes.rule_of)
        _run(model, input_tensors(model, shapes), again)
        _refuse_differences(model, recorder, again)
    root = recorder.calls[-1] if recorder.calls else None
    if root is not None and root.operation is model:
        raise recorder.of_layer or ConversionError(
            "the model's own call cannot be traced",
            where=_name(model),
            found=root.why,
            fix="use keras.ops on tensors and no Python branch on their values; give unknown sizes with --shapes",
        )
    flat = [x for x in tree.flatten(outputs) if x is not None]
    return Trace(
        inputs=tuple((x.name, x) for x in tree.flatten(inputs)),
        calls=tuple(recorder.calls),
        outputs=tuple(zip(_output_names(model, outputs), flat, strict=True)),
        layers=tuple(x for x in recorder.layers if x.path),
    )


def _run(model: Any, inputs: Any, recorder: Recorder) -> Any:
    """Calls the model on symbolic inputs while the recorder listens. Raises where it cannot, or where state changes."""

    def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return recorder.symbolic_call(operation, *args, **kwargs)

    functions, redirect = substitutes.functions(recorder), substitutes.redirect(recorder)
    try:
        with keras.StatelessScope() as state, keras_internals.symbolic_calls(symbolic_call, functions, redirect):
            outputs = model(inputs, training=False)
    except Exception as error:  # the user's own code may raise anything
        unknown = ConversionError(
            "the model cannot be called",
            where=_name(model),
            found=reason(error),
            fix="use keras.ops on tensors; give other sizes with --shapes",
        )
        raise (recorder.fatal or recorder.failure or unknown) from error
    written = written_variables(state, _variables(model))
    if written and all(path.endswith("seed_generator_state") for path in written):
        raise ConversionError(
            "the model draws random numbers at inference, which an engine cannot do",
            where=_name(model),
            found="draws from " + ", ".join(written),
            fix="pass training=False down to the random layers, take the noise as an input, or convert the model "
            "without that part: keras.Model(model.inputs, ...) of the layers before it",
        )
    if written:
        raise ConversionError(
            "the model changes its own state at inference, which an engine cannot do",
            where=_name(model),
            found="writes to " + ", ".join(written),
            fix="set stateful=False, or pass the state in and out",
        )
    return outputs


def _refuse_differences(model: Any, first: Recorder, second: Recorder) -> None:
    difference = repeatable.first_difference(first.calls, second.calls)
    if difference is not None:
        raise ConversionError(
            "the model's code does not do the same at each call, so one call of it would be frozen into the graph",
            where=_name(model),
            found=difference,
            fix="keep no state in attributes of a layer, and draw no random numbers at inference",
        )


def written_variables(state: Any, variables: Sequence[Any]) -> list[str]:
    """Paths of the variables that code in a StatelessScope wrote to; one that is not among those known has no name."""
    known = {id(variable): str(variable.path) for variable in variables}
    return sorted(known.get(key, "a variable that the model does not own") for key in state.state_mapping)


def _variables(model: Any) -> list[Any]:
    every = list(model._flatten_layers())
    seeds = [layer.seed_generator.state for layer in every if hasattr(layer, "seed_generator")]
    states = [state for layer in every for state in tree.flatten(getattr(layer, "states", None))]
    return [*model.variables, *(variable for variable in (*seeds, *states) if isinstance(variable, keras.Variable))]


def _name(model: Any) -> str:
    return f"model '{getattr(model, 'name', type(model).__name__)}'"


def _input_names(structure: Any) -> list[str]:
    """Names of the input layers; an input of no name, or of a name taken already, is called by its place.

    An input whose layer got its name from Keras has one of its own, which is another after the model was saved.
    """
    names: list[str] = []
    for index, tensor in enumerate(tree.flatten(structure)):
        history = getattr(tensor, "_keras_history", None)
        named = history.operation if history and isinstance(history.operation, keras.layers.InputLayer) else tensor
        name = getattr(named, "name", None) or f"input_{index}"
        names.append(name if name not in names else f"{name}_{index}")
    return names


def _input(tensor: KerasTensor, name: str, shapes: Mapping[str, Sequence[int | None]]) -> KerasTensor:
    shape = tuple(tensor.shape)
    if name in shapes:
        given = tuple(shapes[name])
        if not all(size is None or (isinstance(size, int) and size > 0) for size in given):
            raise ConversionError(
                "a size must be a positive integer, or null where it stays unknown",
                where=f"--shapes {name}",
                found=str(list(given)),
                fix="give positive integers, null for the batch",
            )
        clash = len(given) != len(shape) or any(
            a is not None and b is not None and a != b for a, b in zip(shape, given, strict=False)
        )
        if clash:
            raise ConversionError(
                "the shape does not fit the model's input",
                where=f"--shapes {name}",
                expected=str(shape),
                found=str(given),
                fix="give a size only where the model has None",
            )
        shape = given
    if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
        kind = "sparse" if tensor.sparse else "ragged"
        raise ConversionError(
            f"a {kind} input cannot be converted, an engine takes dense tensors",
            where=f"input '{name}'",
            fix=f"make the {kind} values dense before the model, padded where they are of different lengths",
        )
    if tensor.dtype in ("string", "complex64", "complex128"):
        raise ConversionError(
            f"an input of dtype {tensor.dtype} cannot be converted",
            where=f"input '{name}'",
            fix="give the model numbers: text as tokens, complex values as real and imaginary parts",
        )
    return KerasTensor(shape, dtype=tensor.dtype, name=name)


def _output_names(model: Any, outputs: Any) -> list[str]:
    """Keras's output names where the model has them; dictionary keys or positions for a subclassed model."""
    flat = [x for x in tree.flatten(outputs) if x is not None]
    functional = getattr(model, "_functional", None) or model
    names = list(getattr(functional, "output_names", None) or [])
    if len(names) != len(flat):
        paths = [path for path, x in tree.flatten_with_path(outputs) if x is not None]
        names = ["_".join(str(part) for part in path) if path else "output_0" for path in paths]
        names = [f"output_{name}" if name.isdigit() else name for name in names]
    return [name if name not in names[:index] else f"{name}_{index}" for index, name in enumerate(names)]
