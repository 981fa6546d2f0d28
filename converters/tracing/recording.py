"""What a trace consists of, and the recorder that takes the place of Keras's symbolic calls while a model runs."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, tree
from keras.layers import Layer

from converters import keras_internals
from converters.registry import has_own_dtype, refusal_of, why_unknown
from converters.tracing.origins import Origins
from converters.tracing.unknown_sizes import Sizes, number
from deploy.errors import ConversionError

TOO_MANY = 2**31
"""Sizes are 32-bit numbers in TensorRT, so no tensor may have this many elements."""

_PLAIN = (KerasTensor, int, float, str, type(None))
_CONSTANTS = (np.ndarray, keras.Variable)

Rule = Callable[..., Any]
"""How an operation is traced that is not simply recorded: called as ``rule(recorder, operation, *args, **kwargs)``."""


@dataclass(frozen=True, repr=False)
class Weight:
    """A Keras variable as an operation saw it: ``dtype`` is the one of the call, which autocasting may have lowered."""

    variable: Any
    dtype: str


@dataclass(frozen=True)
class Body:
    """A function that an operation runs: a branch, or one step of a loop.

    ``inputs`` are the KerasTensors it was traced with; ``outputs`` KerasTensors, Weights and constants, flat. Its calls
    may use values from outside.
    """

    inputs: tuple[KerasTensor, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """One operation of the flat program.

    ``operation`` is a keras Operation, or a layer that has a lowering of its own or could not be opened (then ``why``
    says so, and ``unknown`` is the operation in it that nothing lowers, if that was it). ``args`` and ``kwargs`` hold
    KerasTensors, Weights and constants; ``outputs`` is the structure of KerasTensors it gives; ``path`` the names of
    the layers around it, joined by ``/``; ``bodies`` the functions that a branch or a loop runs.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    path: str
    why: str = ""
    unknown: Any = None
    bodies: tuple[Body, ...] = ()

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


@dataclass
class Recorder:
    """What one trace has seen so far. `symbolic_call` takes the place of Keras's for its length."""

    is_leaf: Callable[..., bool]
    is_known: Callable[[Any], bool]
    opening_of: Callable[[Any], Callable[..., Any] | None]
    rule_of: Callable[..., Rule | None]
    calls: list[Call] = field(default_factory=list)
    layers: list[LayerCall] = field(default_factory=list)
    origins: Origins = field(default_factory=Origins)
    scope: list[str] = field(default_factory=list)
    unknown: Any = None  # the operation that nothing lowers, until the layer around it is recorded
    fatal: ConversionError | None = None  # what no other way of converting the layer could mend
    failure: ConversionError | None = None  # of the innermost layer: on the way out Keras wraps it in errors of its own
    of_layer: ConversionError | None = None  # why the layer recorded last could not be opened

    def symbolic_call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(operation, Layer):
            rule = self.rule_of(operation, *args, **kwargs)
            if rule is not None:
                return rule(self, operation, *args, **kwargs)
            return self.plain(operation, *args, **kwargs)
        self.scope.append(operation.name)
        try:
            why, unknown = "", None
            if not self.is_leaf(operation, *args, **kwargs):
                outputs, why, unknown = self._open(operation, args, kwargs)
                if not why:
                    self._end(operation, outputs, opened=True)
                    return outputs
            outputs = self._record(operation, args, kwargs, why, unknown)
            self.failure, self.of_layer = None, self.failure
            self._end(operation, outputs, opened=False)
            return outputs
        finally:
            self.scope.pop()

    def trace_body(self, function: Callable[..., Any], *inputs: Any, keep: bool = True) -> tuple[Body, Any]:
        """Traces a function on symbolic inputs; gives what it does and the structure of what it returns.

        ``keep=False``: the layers it calls are left out of the trace, since it is traced for its outputs' shapes only.
        """
        outer, layers, self.calls = self.calls, len(self.layers), []
        try:
            outputs = function(*inputs)
        finally:
            calls, self.calls = self.calls, outer
            if not keep:
                del self.layers[layers:]
        flat = tuple(self._capture(x) for x in tree.flatten(outputs) if x is not None)
        given = tuple(x for x in tree.flatten(inputs) if x is not None)
        return Body(given, tuple(calls), flat), outputs

    def attempt(self, function: Callable[[], Any]) -> Any:
        """Runs a function; what it recorded is taken back when it gives None."""
        calls, layers = len(self.calls), len(self.layers)
        result = function()
        if result is None:
            del self.calls[calls:], self.layers[layers:]
        return result

    def record(self, operation: Any, args: tuple[Any, ...], outputs: Any, bodies: Sequence[Body] = ()) -> Any:
        """Adds a call of an operation that is not Keras's, with the outputs it gives."""
        captured = tree.map_structure(self._capture, args)
        self.calls.append(Call(operation, captured, {}, outputs, self.path, bodies=tuple(bodies)))
        self._carry(operation, args, outputs)
        return outputs

    def plain(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Records an operation that no rule is needed for, or what it consists of."""
        if self.path and not self.is_known(operation):  # so that the layer around it is recorded as a whole
            self.unknown = operation
            raise ConversionError(why_unknown(operation), fix="")  # the error of the layer says what to do
        opening = self.opening_of(operation)
        if opening is not None:
            return self._compose(opening, operation, args, kwargs)
        return self._record(operation, args, kwargs)

    def _compose(
        self, opening: Callable[..., Any], operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Traces what an operation consists of; the result has the dtypes that Keras gives the operation."""
        try:
            results = opening(operation, *args, **kwargs)
        except Exception as error:
            general = "give unknown sizes with --shapes, or write it with other keras.ops"
            known = error if isinstance(error, ConversionError) else None
            self.failure = self.failure or ConversionError(
                f"the operation {type(operation).__name__} cannot be opened" + (f": {known.what}" if known else ""),
                where=(known and known.where)
                or (f"layer '{self.path}'" if self.path else f"operation '{operation.name}'"),
                expected=known.expected if known else "",
                found=known.found if known else reason(error),
                fix=(known and known.fix) or general,
            )
            raise self.failure from error
        try:
            expected = self._spec(operation, args, kwargs)
        except Exception:  # Keras has no shape rule for this case; the opening's holds
            return results
        own = has_own_dtype(operation)
        pairs = zip(tree.flatten(expected), tree.flatten(results), strict=True)
        return tree.pack_sequence_as(expected, [self._conform(x, y, own) for x, y in pairs])

    def _conform(self, expected: KerasTensor | None, found: Any, own_dtype: bool) -> KerasTensor:
        """A KerasTensor of the dtype that is expected, for what may be a constant; as it is where Keras says none."""
        if expected is None:
            return found
        if not isinstance(found, KerasTensor):
            return self._record(keras_internals.core.ConvertToTensor(expected.dtype), (found,), {})
        return found if own_dtype or found.dtype == expected.dtype else keras.ops.cast(found, expected.dtype)

    def _open(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, str, Any]:
        """Runs the layer's own code, whose operations arrive in turn; on failure keeps nothing.

        Gives the outputs, or the reason, and the operation that is the reason.
        """
        calls, layers = len(self.calls), len(self.layers)
        call = layer.quantized_call if getattr(layer, "quantization_mode", None) else layer.call
        opening = self.opening_of(layer)
        call = call if opening is None else functools.partial(opening, layer)
        try:
            outputs = call(*args, **kwargs)
        except Exception as error:  # the user's own code may raise anything
            if self.fatal is not None:
                raise self.fatal from error
            why = reason(error)
        else:
            if getattr(layer, "hands_on_sizes", False) and any(isinstance(x, Sizes) for x in tree.flatten(outputs)):
                return outputs, "", None
            outputs = tree.map_structure(number, outputs)
            if all(_is_tensor(x) for x in tree.flatten(outputs) if x is not None):
                return tree.map_structure(self._symbolic, outputs), "", None
            why = "its call did not return symbolic values"
        del self.calls[calls:], self.layers[layers:]
        unknown, self.unknown = self.unknown, None
        return None, refusal_of(layer) or why, unknown

    def _symbolic(self, value: Any) -> Any:
        """A layer's output that is the same for every input, as a value of the graph; any other as it is."""
        if value is None or isinstance(value, KerasTensor):
            return value
        dtype = keras.backend.standardize_dtype(value.dtype)
        return self._record(keras_internals.core.ConvertToTensor(dtype), (value,), {})

    def _record(
        self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], why: str = "", unknown: Any = None
    ) -> Any:
        given = tree.map_structure(self._capture, (tuple(args), kwargs))
        outputs = self._spec(operation, args, kwargs, why)
        self.calls.append(Call(operation, given[0], given[1], outputs, self.path, why, unknown))
        self._carry(operation, (args, kwargs), outputs)
        return outputs

    def _carry(self, operation: Any, given: Any, outputs: Any) -> None:
        reshaped = isinstance(operation, keras_internals.numpy.Reshape) or getattr(operation, "kind", "") == "reshape"
        self.origins.carry(tree.flatten(given), tree.flatten(outputs), reshaped=reshaped)

    def _capture(self, value: Any) -> Any:
        """An argument as a call keeps it. Raises ConversionError for a constant that no graph can hold."""
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, _CONSTANTS) or keras.ops.is_tensor(value):
            self._refuse_large(value)
        if isinstance(value, keras.Variable):
            return Weight(value, keras.backend.standardize_dtype(value.dtype))
        return value

    def _refuse_large(self, value: Any) -> None:
        count = math.prod(value.shape)
        if count >= TOO_MANY:
            self.fatal = ConversionError(
                f"a constant of {count} elements is too large for a graph",
                where=f"layer '{self.path}'" if self.path else "the model",
                expected=f"fewer than {TOO_MANY}",
                found=f"{tuple(value.shape)} {keras.backend.standardize_dtype(value.dtype)}",
                fix="broadcast a smaller one in the model, or split it",
            )
            raise self.fatal

    def _spec(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], why: str = "") -> Any:
        """The KerasTensors that an operation or layer gives; abstract evaluation where an own shape rule fails."""
        try:
            return _dense(keras_internals.output_spec(operation, *args, **kwargs))
        except Exception as error:
            if isinstance(operation, Layer):
                self.failure = self.failure or ConversionError(
                    "its outputs cannot be computed symbolically",
                    where=f"layer '{self.path}'" if self.path else f"model '{operation.name}'",
                    found=why or reason(error),
                    fix="use keras.ops on tensors; give other sizes with --shapes",
                )
                raise self.failure from error
            return keras_internals.base_spec(operation, *args, **kwargs)

    def _end(self, layer: Any, outputs: Any, *, opened: bool) -> None:
        values = tuple(x for x in tree.flatten(outputs) if isinstance(x, KerasTensor))
        self.layers.append(LayerCall(self.path, layer, values, opened))

    @property
    def path(self) -> str:
        """Path of the innermost layer; the traced model itself is the root and has no name in it."""
        return "/".join(self.scope[1:])


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (KerasTensor, *_CONSTANTS)) or bool(keras.ops.is_tensor(value))


def _dense(outputs: Any) -> Any:
    """Keras takes what is no tensor of its own for sparse, a tf.Variable say; no graph has sparse values."""
    for x in tree.flatten(outputs):
        if isinstance(x, KerasTensor) and x.sparse:
            return tree.map_structure(lambda y: KerasTensor(y.shape, y.dtype) if y is not None else None, outputs)
    return outputs


def reason(error: Exception) -> str:
    """An error in one line: what was raised, without Keras's colours and its list of arguments."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    text = re.sub(r"^Exception encountered when calling \S+\(\)\.", "", text).partition("Arguments received by")[0]
    text = " ".join(text.split())[:500] or "no message"
    return text if isinstance(error, ConversionError) else f"{type(error).__name__}: {text}"
