"""Every internal of Keras that converters.keras_internals relies on: a Keras upgrade that changes one fails here."""

from __future__ import annotations

import inspect
import sys

import keras
import numpy as np
import pytest
from keras import layers
from keras.src import backend
from keras.src.layers import layer as layer_module
from keras.src.ops.operation import Operation
from keras.src.saving import saving_lib
from keras.src.utils import numerical_utils

from converters import keras_internals


def test_symbolic_call_is_where_symbolic_values_go() -> None:
    assert callable(Operation.symbolic_call)
    assert callable(layers.Layer.symbolic_call)
    assert issubclass(layers.Layer, Operation)
    assert Operation is keras.Operation


def test_an_operation_is_made_by_its_public_function() -> None:
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, keras.ops.sum(inputs, axis=1))
    operation = model.operations[-1]
    assert type(operation) is keras_internals.numpy.Sum
    assert (operation.axis, operation.keepdims) == ([1], False)


def test_base_spec_is_by_abstract_evaluation() -> None:
    spec = keras_internals.base_spec(keras_internals.numpy.Sum(axis=1), keras.KerasTensor((None, 4, 3)))
    assert tuple(spec.shape) == (None, 3)


def test_a_layer_records_its_symbolic_call_by_a_node_of_its_module() -> None:
    assert inspect.isclass(layer_module.Node)
    assert "Node(" in inspect.getsource(layers.Layer.__call__)


@pytest.mark.parametrize("name", ["numpy", "nn", "math", "image", "linalg", "core"])
def test_backend_modules(name: str) -> None:
    module = getattr(backend, name)
    assert module.__name__ == f"keras.src.backend.{keras.backend.backend()}.{name}"
    assert sys.modules[module.__name__.rpartition(".")[0]].numpy is backend.numpy


@pytest.mark.parametrize("name", ["cast", "convert_to_tensor", "shape", "stop_gradient"])
def test_core_functions_with_public_namesakes(name: str) -> None:
    assert callable(getattr(backend.core, name))
    assert callable(getattr(keras.ops, name))


@pytest.mark.parametrize("name", ["activations", "core", "einops", "image", "linalg", "math", "nn", "numpy"])
def test_operation_modules(name: str) -> None:
    assert getattr(keras_internals, name).__name__.startswith("keras.src.")


@pytest.mark.parametrize(
    ("module", "name", "attributes"),
    [
        ("nn", "Conv", "strides padding data_format dilation_rate"),
        ("nn", "ConvTranspose", "strides padding output_padding data_format dilation_rate"),
        ("nn", "MaxPool", "pool_size strides padding data_format"),
        ("nn", "BatchNorm", "axis epsilon"),
        ("nn", "LayerNorm", "axis epsilon rms_scaling"),
        ("nn", "Softmax", "axis"),
        ("nn", "OneHot", "num_classes axis"),
        ("numpy", "Pad", "pad_width mode"),
        ("numpy", "Transpose", "axes"),
        ("numpy", "Concatenate", "axis"),
        ("numpy", "Einsum", "subscripts"),
        ("numpy", "Clip", "x_min x_max"),
        ("numpy", "Take", "axis"),
        ("image", "Resize", "size interpolation antialias data_format"),
        ("activations", "ReLU", "negative_slope max_value threshold"),
        ("core", "Cast", "dtype"),
        ("core", "Slice", "shape"),
    ],
)
def test_what_lowerings_read_of_operations(module: str, name: str, attributes: str) -> None:
    source = inspect.getsource(getattr(getattr(keras_internals, module), name).__init__)
    for attribute in attributes.split():
        assert f"self.{attribute} = " in source


def test_categories_are_encoded_by_kerass_own_code_after_a_value_error() -> None:
    source = inspect.getsource(numerical_utils.encode_categorical_inputs)
    assert "tf_utils.tf_encode_categorical_inputs(" in source
    assert "except ValueError:" in source


def test_weights_of_a_file_are_read_one_by_one() -> None:
    source = inspect.getsource(saving_lib.H5IOStore.__getitem__)
    assert "safe_get_h5_dataset(self._h5_entry_group, key)" in source
    assert '"dtype" in value.attrs' in source


def test_augmentations_draw_at_inference() -> None:
    found = {cls.__name__ for cls in keras_internals._augmentations()}
    assert {"RandomHue", "RandomFlip", "MixUp", "CutMix", "AugMix", "RandAugment"} < found
    assert "get_random_transformation(data, training=training)" in inspect.getsource(layers.RandomHue.call)


def test_input_structure_of_each_kind_of_model() -> None:
    functional = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(2)])
    assert keras.tree.flatten(keras_internals.input_structure(functional))[0].name == "x"

    class Own(keras.Model):
        def call(self, inputs: object) -> object:
            return inputs["a"] + inputs["b"]  # type: ignore[index]

    own = Own()
    assert keras_internals.input_structure(own) is None
    own({"a": np.zeros((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)})
    structure = keras_internals.input_structure(own)
    assert {name: tuple(x.shape) for name, x in structure.items()} == {"a": (None, 3), "b": (None, 3)}


def test_patches_are_undone_after_an_error() -> None:
    before = (Operation.symbolic_call, layers.Layer.symbolic_call, layer_module.Node, dict(vars(backend.numpy)))
    inside = []

    def fail() -> None:
        with keras_internals.symbolic_calls(lambda *args, **kwargs: None):
            inside.append(Operation.symbolic_call)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside[0] is not before[0]
    after = (Operation.symbolic_call, layers.Layer.symbolic_call, layer_module.Node, dict(vars(backend.numpy)))
    assert after == before


def test_what_stands_in_for_new_is_taken_back() -> None:
    before = vars(Operation)["__new__"]
    with keras_internals.symbolic_calls(lambda operation, *args: operation):
        made = keras_internals.numpy.Sum(axis=1)
    assert vars(Operation)["__new__"] is before
    assert vars(made).keys() == vars(keras_internals.numpy.Sum(axis=1)).keys()


def test_a_configuration_is_the_same_without_copies() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inputs))
    expected = model.get_config()
    with keras_internals.uncopied_configs():
        assert model.get_config() == expected
    config = model.get_config()
    config["layers"][1]["config"]["layers"].clear()
    assert model.get_config() == expected
