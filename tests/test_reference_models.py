"""Every reference model on this machine's CPU: converted, built for TensorRT-RTX, simulated, compared with Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]

BATCHES = (1, 3, 8)
PRECISIONS = ("fp32", "fp16", "int8")
NODES = {"mean_spot": 21, "mean_spot_cbam": 40, "speech": 11, "cbam_resnet50": 346}
"""At most so many nodes; the first two exactly."""
TRAINED = ("mean_spot", "mean_spot_cbam", "digits", "digits_mobilenet", "digits_efficientnet", "speech", "fer")
UNTRAINED = ("resnet50", "cbam_resnet50", "resnet101", "cbam_resnet101", "resnet152", "cbam_resnet152")
LOWERED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

pytest.importorskip("tensorrt_rtx", reason="needs the extra rtx: make setup installs it")


class Case:
    """A reference model with its logits as the output, its graph and eight real inputs."""

    def __init__(self, name: str) -> None:
        import keras
        import onnx_ir as ir

        import converters
        from converters.convert import convert_model
        from examples.reference import reference

        self.entry = reference(name)
        model = converters.load(self.entry.model())
        last = model.layers[-1]
        if getattr(last, "activation", None) is keras.activations.softmax:
            model = keras.Model(model.inputs, last.input, name=model.name)
        self.model = model
        self.conversion = convert_model(model)
        self.proto = ir.to_proto(self.conversion.model)
        self.inputs = _first(np.load(self.entry.calibration), max(BATCHES))

    def keras(self, inputs: Mapping[str, Array]) -> Array:
        """Keras's output for named inputs."""
        arrays = [np.asarray(inputs[tensor.name]) for tensor in self.model.inputs]
        return np.asarray(self.model(arrays if len(arrays) > 1 else arrays[0], training=False))

    def sensitivity(self, expected: Array) -> float:
        """Largest relative change of Keras's own output over three random elementwise ±2e-7 changes of the input."""
        rng = np.random.default_rng(0)
        changes = []
        for _ in range(3):
            moved = {
                k: v * (1 + 2e-7 * rng.choice([-1.0, 1.0], v.shape)).astype(v.dtype) for k, v in self.inputs.items()
            }
            changes.append(_relative(self.keras(moved), expected))
        return max(changes)


def _moved(array: Array, rng: np.random.Generator) -> Array:
    return array * (1 + 2e-7 * rng.choice([-1.0, 1.0], array.shape)).astype(array.dtype)


def _first(arrays: Mapping[str, Array], count: int) -> dict[str, Array]:
    return {name: np.asarray(arrays[name][:count]) for name in arrays}


def _relative(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module", params=TRAINED + UNTRAINED)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_graph_is_clean(case: Case) -> None:
    import onnx

    onnx.checker.check_model(case.proto, full_check=True)
    onnx.shape_inference.infer_shapes(case.proto, check_type=True, strict_mode=True, data_prop=True)
    for node in case.conversion.model.graph:
        for value in node.outputs:
            assert value.shape is not None
            assert value.dtype is not None
    operations = case.conversion.report.operations
    assert not {"Shape", "Gather", "Cast"} & set(operations)
    assert operations.get("Transpose", 0) <= (0 if case.entry.name in ("mean_spot", "mean_spot_cbam", "speech") else 1)
    if case.entry.name.startswith("mean_spot"):
        assert case.conversion.report.nodes == NODES[case.entry.name]
    assert case.conversion.report.nodes <= NODES.get(case.entry.name, 1200)


def test_fp32_equals_keras(case: Case) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(case.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = case.keras(case.inputs)
    bound = max(1e-5, 10 * case.sensitivity(expected))
    assert expected.std(axis=0).max() > 0, "inputs that all give the same output prove nothing"
    for batch in BATCHES:
        (found,) = session.run(None, _first(case.inputs, batch))
        assert found.shape == expected[:batch].shape
        assert float(np.abs(found - expected[:batch]).max()) <= bound * float(np.abs(expected).max())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_engine_computes_as_asked(case: Case, precision: str) -> None:
    import engines
    from deploy.manifest import Profile
    from engines.targets.base import find

    calibration = case.entry.calibration if precision != "fp32" else None
    recipe = engines.recipe(case.proto, precision, calibration=calibration)
    built = find("tensorrt-rtx").build(case.conversion.model.clone(), recipe, Profile())
    asked = [node.name for node in case.proto.graph.node if node.op_type in LOWERED]
    assert sorted(layer.name for layer in built.layers) == sorted(asked)
    assert all(layer.found == layer.asked for layer in built.layers)
    kept = [layer for layer in recipe.layers if layer.precision != precision]
    reasons = ("a gate", "a scale", "its constant", "a product of", "sums")
    assert all(layer.why.startswith(reasons) for layer in kept), "a layer is kept higher without a reason"
    computing = len(asked) - sum(layer.name in asked for layer in kept)
    assert sum(layer.found == precision for layer in built.layers) == computing


def test_fp16_simulated(case: Case) -> None:
    """FP16 stays within 1e-2 of the FP32 output's scale and gives the same class for 99.5% of the inputs."""
    import engines
    from engines.simulate import simulate

    recipe = engines.recipe(case.proto, "fp16", calibration=case.entry.calibration)
    inputs = dict(np.load(case.entry.calibration)) if case.entry.name in TRAINED else case.inputs
    expected = case.keras(inputs)
    (found,) = simulate(recipe, case.proto, inputs).values()
    assert np.isfinite(found).all()
    assert _relative(found, expected) <= 1e-2
    if case.entry.task == "classification":
        assert (found.argmax(-1) == expected.argmax(-1)).mean() >= 0.995


def test_int8_digits_keep_their_accuracy() -> None:
    """INT8 loses at most half a point on the held-out digits."""
    import engines
    from engines.simulate import simulate
    from examples.cbam_resnet.data import digits_split

    case = Case("digits")
    _, _, images, labels = digits_split()
    recipe = engines.recipe(case.proto, "int8", calibration=case.entry.calibration)
    (found,) = simulate(recipe, case.proto, {"image": images}).values()
    before = float((case.keras({"image": images}).argmax(-1) == labels).mean())
    after = float((found.argmax(-1) == labels).mean())
    assert before >= 0.98
    assert after >= before - 0.005
