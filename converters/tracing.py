"""Runs a Keras model once on symbolic values and writes down the operations it consists of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import KerasTensor, tree
from keras.layers import Layer

from converters import keras_internals
from converters.registry import has_own_dtype, why_unknown
from deploy.errors import ConversionError


@dataclass(frozen=True, repr=False)
class Weight:
    """A Keras variable as an operation saw it: ``dtype`` is the one of the call, which autocasting may have lowered."""

    variable: Any
    dtype: str


@dataclass(frozen=True)
class Call:
    """One operation of the flat program.

    ``operation`` is a keras Operation, or a layer that has a lowering of its own or could not be opened (then ``why``
    says so, and ``unknown`` is the operation in it that nothing lowers, if that was it). ``args`` and ``kwargs`` hold
    KerasTensors, Weights and constants; ``outputs`` is the structure of KerasTensors it gives; ``path`` the names of
    the layers around it, joined by ``/``.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    path: str
    why: str = ""
    unknown: Any = None

    @property
    def where(self) -> str:
        """The layer, or the operation outside of any layer, as an error names it."""
        return f"layer '{self.path}'" if self.path else f"operation '{self.operation.name}'"


@dataclass(frozen=True)
class LayerCall:
    """The end of a Keras layer's call: its path, the layer, its outputs; ``opened``: its operations were traced."""

    path: str
    layer: Any
    outputs: tuple[KerasTensor, ...]
    opened: bool


@dataclass(frozen=True)
class Trace:
    """A model as a flat list of calls, in order of execution; every KerasTensor stands for one value.

    ``inputs`` and ``outputs`` are (name, KerasTensor) in the model's order.
    """

    inputs: tuple[tuple[str, KerasTensor], ...]
    calls: tuple[Call, ...]
    outputs: tuple[tuple[str, KerasTensor], ...]
    layers: tuple[LayerCall, ...]


@dataclass
class _Recorder:
    """What one trace has seen so far. `symbolic_call` takes the place of Keras's for its length."""

    is_leaf: Callable[[Any], bool]
    is_known: Callable[[Any], bool]
    opening_of: Callable[[Any], Callable[..., Any] | None]
    calls: list[Call] = field(default_factory=list)
    layers: list[LayerCall] = field(default_factory=list)
    scope: list[str] = field(default_factory=list)
    unknown: Any = None  # the operation that nothing lowers, until the layer around it is recorded
    failure: ConversionError | None = None  # of the innermost layer: on the way out Keras wraps it in errors of its own

    def symbolic_call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(operation, Layer):
            if self.path and not self.is_known(operation):  # so that the layer around it is recorded as a whole
                self.unknown = operation
                raise ConversionError(why_unknown(operation))
            opening = self.opening_of(operation)
            if opening is not None:
                return self._compose(opening, operation, args, kwargs)
            return self._record(operation, args, kwargs)
        self.scope.append(operation.name)
        try:
            why, unknown = "", None
            if not self.is_leaf(operation):
                outputs, why, unknown = self._open(operation, args, kwargs)
                if not why:
                    self._end(operation, outputs, opened=True)
                    return outputs
            outputs = self._record(operation, args, kwargs, why, unknown)
            self.failure = None
            self._end(operation, outputs, opened=False)
            return outputs
        finally:
            self.scope.pop()

    def _compose(
        self, opening: Callable[..., Any], operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Traces what an operation consists of; the result has the dtypes that Keras gives the operation."""
        try:
            results = opening(operation, *args, **kwargs)
        except Exception as error:
            self.failure = self.failure or ConversionError(
                f"the operation {type(operation).__name__} cannot be opened",
                where=f"layer '{self.path}'" if self.path else f"operation '{operation.name}'",
                found=_reason(error),
                fix="give unknown sizes with --shapes, or write it with other keras.ops",
            )
            raise self.failure from error
        try:
            expected = self._spec(operation, args, kwargs)
        except Exception:  # Keras has no shape rule for this case; the opening's holds
            return results
        own = has_own_dtype(operation)
        pairs = zip(tree.flatten(expected), tree.flatten(results), strict=True)
        return tree.pack_sequence_as(expected, [self._conform(x, y, own) for x, y in pairs])

    def _conform(self, expected: KerasTensor, found: Any, own_dtype: bool) -> KerasTensor:
        """A KerasTensor of the dtype that is expected, for what may be a constant."""
        if not isinstance(found, KerasTensor):
            return self._record(keras_internals.core.ConvertToTensor(expected.dtype), (found,), {})
        return found if own_dtype or found.dtype == expected.dtype else keras.ops.cast(found, expected.dtype)

    def _open(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, str, Any]:
        """Runs the layer's own code, whose operations arrive in turn; on failure keeps nothing.

        Gives the outputs, or the reason, and the operation that is the reason.
        """
        calls, layers = len(self.calls), len(self.layers)
        call = layer.quantized_call if getattr(layer, "quantization_mode", None) else layer.call
        try:
            outputs = call(*args, **kwargs)
        except Exception as error:  # the user's own code may raise anything
            why = _reason(error)
        else:
            if all(isinstance(x, KerasTensor) for x in tree.flatten(outputs) if x is not None):
                return outputs, "", None
            why = "its call did not return symbolic values"
        del self.calls[calls:], self.layers[layers:]
        unknown, self.unknown = self.unknown, None
        return None, why, unknown

    def _record(
        self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], why: str = "", unknown: Any = None
    ) -> Any:
        outputs = self._spec(operation, args, kwargs, why)
        args, kwargs = tree.map_structure(_capture, (tuple(args), kwargs))
        self.calls.append(Call(operation, args, kwargs, outputs, self.path, why, unknown))
        return outputs

    def _spec(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], why: str = "") -> Any:
        """The KerasTensors that an operation or layer gives; abstract evaluation where an own shape rule fails."""
        try:
            return keras_internals.output_spec(operation, *args, **kwargs)
        except Exception as error:
            if isinstance(operation, Layer):
                self.failure = self.failure or ConversionError(
                    "its outputs cannot be computed symbolically",
                    where=f"layer '{self.path}'" if self.path else _name(operation),
                    found=why or _reason(error),
                    fix="use keras.ops on tensors; give other sizes with --shapes",
                )
                raise self.failure from error
            return keras_internals.base_spec(operation, *args, **kwargs)

    def _end(self, layer: Any, outputs: Any, *, opened: bool) -> None:
        values = tuple(x for x in tree.flatten(outputs) if x is not None)
        self.layers.append(LayerCall(self.path, layer, values, opened))

    @property
    def path(self) -> str:
        """Path of the innermost layer; the traced model itself is the root and has no name in it."""
        return "/".join(self.scope[1:])


def _reason(error: Exception) -> str:
    """An error in one line: what was raised, without Keras's colours and its list of arguments."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    text = re.sub(r"^Exception encountered when calling \S+\(\)\.", "", text).partition("Arguments received by")[0]
    text = " ".join(text.split())[:500] or "no message"
    return text if isinstance(error, ConversionError) else f"{type(error).__name__}: {text}"


def _capture(value: Any) -> Any:
    if isinstance(value, keras.Variable):
        return Weight(value, keras.backend.standardize_dtype(value.dtype))
    return value


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
    is_leaf: Callable[[Any], bool] = lambda layer: False,
    is_known: Callable[[Any], bool] = lambda operation: True,
    opening_of: Callable[[Any], Callable[..., Any] | None] = lambda operation: None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> Trace:
    """Traces a built Keras model for inference (``training=False``).

    Args:
        model: a Functional, Sequential or subclassed model, built.
        is_leaf: says of a layer that it shall be recorded as one call and not opened.
        is_known: says of an operation that it can be lowered; a layer with another one inside is not opened.
        opening_of: what an operation consists of (see `registry.opens`), or None.
        shapes: input name -> shape (batch included, None where unknown), for inputs with unknown sizes.

    Raises:
        ConversionError: the model was never built, has an unknown size that a layer needs, or writes to its own state
            at inference (a stateful layer). The model is left as it was in every case.
    """
    inputs = input_tensors(model, shapes)
    recorder = _Recorder(is_leaf, is_known, opening_of)

    def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return recorder.symbolic_call(operation, *args, **kwargs)

    try:
        with keras.StatelessScope() as state, keras_internals.symbolic_calls(symbolic_call):
            outputs = model(inputs, training=False)
    except Exception as error:  # the user's own code may raise anything
        unknown = ConversionError("the model cannot be called", where=_name(model), found=_reason(error))
        raise (recorder.failure or unknown) from error
    if state.state_mapping:
        raise ConversionError(
            "the model changes its own state at inference, which an engine cannot do",
            where=_name(model),
            found="writes to " + ", ".join(written_variables(state, _variables(model))),
            fix="set stateful=False, pass training=False down to the random layers, or pass the state in and out",
        )
    root = recorder.calls[-1] if recorder.calls else None
    if root is not None and root.operation is model:
        raise ConversionError(
            "the model's own call cannot be traced",
            where=_name(model),
            found=root.why,
            fix="use keras.ops on tensors and no Python branch on their values; give unknown sizes with --shapes",
        )
    flat = tree.flatten(inputs)
    return Trace(
        inputs=tuple((x.name, x) for x in flat),
        calls=tuple(recorder.calls),
        outputs=tuple(zip(_output_names(model, outputs), tree.flatten(outputs), strict=True)),
        layers=tuple(x for x in recorder.layers if x.path),
    )


def written_variables(state: Any, variables: Sequence[Any]) -> list[str]:
    """Paths of the variables that code in a StatelessScope wrote to; one that is not among those known has no name."""
    known = {id(variable): str(variable.path) for variable in variables}
    return sorted(known.get(key, "a variable that the model does not own") for key in state.state_mapping)


def _variables(model: Any) -> list[Any]:
    seeds = [layer.seed_generator.state for layer in model._flatten_layers() if hasattr(layer, "seed_generator")]
    return [*model.variables, *(variable for variable in seeds if variable is not None)]


def _name(model: Any) -> str:
    return f"model '{getattr(model, 'name', type(model).__name__)}'"


def _input_names(structure: Any) -> list[str]:
    """Names of the input layers; an input of no name, or of a name taken already, is called by its place."""
    names: list[str] = []
    for index, tensor in enumerate(tree.flatten(structure)):
        name = getattr(tensor, "name", None) or f"input_{index}"
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
    if tensor.dtype in ("string", "complex64", "complex128"):
        raise ConversionError(f"an input of dtype {tensor.dtype} cannot be converted", where=f"input '{name}'")
    return KerasTensor(shape, dtype=tensor.dtype, name=name)


def _output_names(model: Any, outputs: Any) -> list[str]:
    """Keras's output names where the model has them; dictionary keys or positions for a subclassed model."""
    flat = tree.flatten(outputs)
    functional = getattr(model, "_functional", None) or model
    names = list(getattr(functional, "output_names", None) or [])
    if len(names) != len(flat):
        paths = [path for path, _ in tree.flatten_with_path(outputs)]
        names = ["_".join(str(part) for part in path) if path else "output_0" for path in paths]
        names = [f"output_{name}" if name.isdigit() else name for name in names]
    return [name if name not in names[:index] else f"{name}_{index}" for index, name in enumerate(names)]
