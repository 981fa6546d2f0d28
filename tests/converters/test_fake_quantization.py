"""What quantization-aware training leaves in a model: fake quantization becomes a QuantizeLinear and its inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import check, operations
from tests.converters.tensorflow_only import require_tensorflow

tf = require_tensorflow()

LOW = np.array([-1.0, -2.0, -0.5], np.float32)
quantization = tf.quantization

CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "vars": (lambda x: quantization.fake_quant_with_min_max_vars(x, -1.0, 2.0), ""),
    "args": (lambda x: quantization.fake_quant_with_min_max_args(x, num_bits=8), ""),
    "narrow": (lambda x: quantization.fake_quant_with_min_max_args(x, -1.0, 1.0, narrow_range=True), "Max"),
    "per channel": (lambda x: quantization.fake_quant_with_min_max_vars_per_channel(x, LOW, -2 * LOW), ""),
    "narrow, per channel": (
        lambda x: quantization.fake_quant_with_min_max_vars_per_channel(x, LOW, -LOW, narrow_range=True),
        "Max",
    ),
    "4 bits": (lambda x: quantization.fake_quant_with_min_max_vars(x, -1.0, 2.0, num_bits=4), "Max Min"),
    "signed": (lambda x: quantization.quantize_and_dequantize_v2(x, -1.5, 1.5, range_given=True), ""),
    "signed, narrow": (
        lambda x: quantization.quantize_and_dequantize_v2(x, -1.5, 1.0, range_given=True, narrow_range=True),
        "Max",
    ),
    "unsigned": (
        lambda x: quantization.quantize_and_dequantize_v2(x, 0.0, 1.5, signed_input=False, range_given=True),
        "",
    ),
    "Keras": (lambda x: keras.quantizers.fake_quant_with_min_max_vars(x, -1.0, 2.0, num_bits=6), "Max Min"),
    "Keras, along an axis": (
        lambda x: keras.quantizers.fake_quant_with_min_max_vars(
            x, np.linspace(-1, -2, 5, dtype=np.float32), np.ones(5, np.float32), axis=1
        ),
        "",
    ),
}


class Raw(keras.layers.Layer):
    def __init__(self, function: Callable[[Any], Any], **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def _model(function: Callable[[Any], Any]) -> keras.Model:
    inputs = keras.Input((5, 6, 3), name="x")
    return keras.Model(inputs, Raw(function, name="raw")(inputs))


@pytest.mark.parametrize("name", CASES)
def test_eight_bits_are_one_pair(name: str) -> None:
    function, cuts = CASES[name]
    converted = check(_model(function), exporter="direct")
    found = {part.partition(":")[0] for part in operations(converted).split(",")}
    assert found == {"QuantizeLinear", "DequantizeLinear", *cuts.split()}


def test_more_bits_are_arithmetic() -> None:
    converted = check(_model(lambda x: quantization.fake_quant_with_min_max_vars(x, -1.0, 2.0, num_bits=16)))
    assert operations(converted) == "Div:1,Max:1,Min:1,Mul:1,Round:1"


def test_a_symmetric_grid_has_zero_point_0() -> None:
    converted = convert_model(_model(CASES["signed"][0]))
    zeros = [node.inputs[2] for node in converted.model.graph if node.op_type == "QuantizeLinear"]
    assert [zero.const_value.numpy().tolist() for zero in zeros] == [0]
    assert zeros[0].dtype.name == "INT8"


def test_a_functional_model_keeps_what_keras_kept() -> None:
    inputs = keras.Input((5, 6, 3), name="x")
    model = keras.Model(inputs, keras.quantizers.fake_quant_with_min_max_vars(inputs, -1.0, 2.0))
    assert operations(check(model)) == "DequantizeLinear:1,QuantizeLinear:1"


def test_weights_are_rounded_by_the_model_itself() -> None:
    class Rounded(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 4), initializer="random_normal")

        def call(self, x: Any) -> Any:
            return tf.matmul(x, quantization.fake_quant_with_min_max_vars(self.kernel, -0.1, 0.1, narrow_range=True))

    inputs = keras.Input((6,), name="x")
    converted = check(keras.Model(inputs, Rounded(name="rounded")(inputs)), exporter="direct")
    assert "QuantizeLinear" not in operations(converted)


def test_a_computed_range_is_refused_by_name() -> None:
    def call(x: Any) -> Any:
        return keras.quantizers.fake_quant_with_min_max_vars(x, keras.ops.min(x), keras.ops.max(x))

    with pytest.raises(ConversionError, match="within a range that is computed"):
        convert_model(_model(call), exporter="direct")
