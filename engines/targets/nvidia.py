"""Building a strongly typed network with TensorRT's builder: what TensorRT 10, 11 and TensorRT-RTX have in common.

``trt`` is the module (`tensorrt` or `tensorrt_rtx`). Two habits of its Python binding shape this file: exceptions in
callbacks are swallowed, and a failure is a None whose reason only the process's logger hears.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.backends.tensorrt_logger import logger_of
from deploy.errors import BuildError
from deploy.interrupts import deferred
from deploy.manifest import Profile

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Serialized:
    """An engine's bytes, and the builder's message about its layers (empty where it prints none)."""

    data: bytes
    layers: str


class Failure(Exception):
    """The builder returned nothing; ``reason`` is what it logged."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unparsed(BuildError):
    """The parser refused the graph; ``node`` is the one that it named, or empty."""

    def __init__(self, message: str, node: str, **details: str) -> None:
        super().__init__(message, **details)
        self.node = node


def build(trt: Any, graph: bytes, profile: Profile, capabilities: Sequence[str] = ()) -> Serialized:
    """Builds an engine of a strongly typed ONNX graph.

    ``capabilities``: names of compute capabilities (``SM86``) it shall run on, where the builder can choose (RTX). TF32
    is off: an FP32 layer then is one. Raises `Unparsed` where the graph is refused, `Failure` where the build fails,
    and KeyboardInterrupt where Ctrl-C came while it ran.
    """
    with _LOCK:
        logger = logger_of(trt)
        logger.messages.clear()
        builder = trt.Builder(logger)
        flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if flag is None else 1 << int(flag))
        parser = _parse(trt, network, logger, graph)
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.clear_flag(trt.BuilderFlag.TF32)
        _add_profile(builder, network, config, profile)
        if capabilities:
            config.num_compute_capabilities = len(capabilities)
            for index, name in enumerate(capabilities):
                config.set_compute_capability(trt.ComputeCapability.__members__[name], index)
        with deferred() as interrupted:
            config.progress_monitor = _monitor(trt, interrupted)
            engine = builder.build_serialized_network(network, config)
        del parser
        if interrupted.is_set():
            raise KeyboardInterrupt
        if engine is None:
            raise Failure(logger.reason())
        layers = [text for _, text in logger.messages if text.startswith("Layers:")]
        return Serialized(bytes(engine), layers[-1] if layers else "")


def _parse(trt: Any, network: Any, logger: Any, graph: bytes) -> Any:
    """The parser, which must live as long as the network: weights may lie in its memory.

    Raises `Unparsed` with the parser's own words, copied at once: its errors die with it.
    """
    parser = trt.OnnxParser(network, logger)
    if parser.parse(graph):
        return parser
    reasons = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        reasons.append((str(error.node_name()), str(error.node_operator()), str(error.desc())))
    name, operator, what = reasons[0] if reasons else ("", "", logger.reason())
    raise Unparsed(
        f"{trt.__name__} does not take the graph: {what}",
        name,
        where=f"layer {name} ({operator})" if name else "graph",
        fix="this operator or its attributes may not be supported by this TensorRT",
    )


def _add_profile(builder: Any, network: Any, config: Any, profile: Profile) -> None:
    """An optimization profile over the batch, where the graph leaves it open."""
    shapes = builder.create_optimization_profile()
    dynamic = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sizes = tuple(tensor.shape)
        if -1 in sizes[1:]:
            raise BuildError(
                "has a size that is not known, other than the batch",
                where=f"input {tensor.name}",
                found=str(sizes),
                fix="fix it when converting: --shapes",
            )
        if sizes and sizes[0] == -1:
            dynamic = True
            bounds = (profile.minimum, profile.optimum, profile.maximum)
            shapes.set_shape(tensor.name, *((batch, *sizes[1:]) for batch in bounds))
    if dynamic:
        config.add_optimization_profile(shapes)


def _monitor(trt: Any, interrupted: threading.Event) -> Any:
    """Asks the builder to stop once ``interrupted`` is set; an exception raised in here would be lost."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def phase_start(self, name: str, parent: str, steps: int) -> None:
            pass

        def step_complete(self, name: str, step: int) -> bool:
            return not interrupted.is_set()

        def phase_finish(self, name: str) -> None:
            pass

    return Monitor()
