"""Where TensorFlow gives way while a model is traced: its functions to their adapters, its values to symbolic ones."""

from __future__ import annotations

import contextlib
import functools
import operator
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from converters.tensorflow_adapters import Adapter, control, functions


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


def redirections() -> list[tuple[Any, str, Adapter]]:
    """(module, name, adapter) of each function, where TensorFlow is loaded; a layer written in it has loaded it."""
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return []
    tables = _modules(tf)
    for name in ("keras._tf_keras.keras.backend", "tf_keras.backend"):  # where something has looked at them
        if name in sys.modules:
            tables.append((sys.modules[name], functions.KERAS_BACKEND))
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
    return [(operator.attrgetter(place)(tf) if place else tf, table) for place, table in functions.TABLES.items()]
