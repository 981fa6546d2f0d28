"""INT8 is exact on every processor, and fast where the processor can do both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deploy.backends import saturation

ort = pytest.importorskip("onnxruntime")


class Options:
    """Records what a session would be told."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


def test_the_probe_is_the_graph_that_it_says_it_is() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(saturation.PROBE)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert node.op_type == "MatMulInteger"
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    assert weight.dtype == np.int8
    assert (weight == 127).all()


def test_the_probe_is_exact_with_what_it_decides() -> None:
    options = ort.SessionOptions()
    saturation.keep_exact(options)
    session = ort.InferenceSession(saturation.PROBE, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((4, 8), 255, np.uint8)})
    assert (found == 8 * 255 * 127).all()


@pytest.mark.parametrize(("lost", "entries"), [(0, {}), (1, {"session.x64quantprecision": "1"})])
def test_only_a_processor_that_saturates_gets_slower_kernels(
    monkeypatch: pytest.MonkeyPatch, lost: int, entries: dict[str, str]
) -> None:
    class Session:
        def __init__(self, *arguments: Any, **rest: Any) -> None: ...

        def run(self, names: Any, inputs: dict[str, Any]) -> list[Any]:
            return [inputs["x"].astype(np.int32) @ np.full((8, 4), 127, np.int32) - lost]

    monkeypatch.setattr(ort, "InferenceSession", Session)
    saturation._saturates.cache_clear()
    try:
        options = Options()
        saturation.keep_exact(options)
    finally:
        saturation._saturates.cache_clear()
    assert options.entries == entries
