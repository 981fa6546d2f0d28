"""In Sony MCT's environment: DESCRIPTION.npz CALIBRATION.npz INPUTS.npz METHOD OUTPUT.npz. METHOD: default.

MCT 2.6 takes Keras up to 2.15, which cannot read what Keras 3 writes: the model is built again from plain layers, with
the same weights. A closing Softmax is left out. OUTPUT: ``float`` and ``int8``, the logits of that model and of MCT's
(rounded by its own quantizers, FP32 between), and ``layers``, the names of its layers with quantized weights.
"""

import json
import sys

import model_compression_toolkit as mct
import numpy as np
import tensorflow as tf

BATCH = 32
LAYERS = tf.keras.layers


def main(description: str, calibration: str, inputs: str, _method: str, output: str) -> None:
    """Quantizes with all defaults: INT8, weights per channel, steps of activations powers of two."""
    with np.load(description) as archive:
        arrays = {name: archive[name] for name in archive.files}
    described = json.loads(str(arrays.pop("description")))
    model = rebuilt(described, arrays)
    names = described["inputs"]
    with np.load(calibration) as archive:
        samples = [archive[name] for name in names]
    with np.load(inputs) as archive:
        feeds = [archive[name] for name in names]

    def data():
        for i in range(0, len(samples[0]), BATCH):
            yield [array[i : i + BATCH] for array in samples]

    quantized, _ = mct.ptq.keras_post_training_quantization(model, data)
    layers = [layer.name for layer in quantized.layers if getattr(layer, "weights_quantizers", None)]
    np.savez(
        output,
        float=model.predict(feeds, batch_size=256, verbose=0),
        int8=quantized.predict(feeds, batch_size=256, verbose=0),
        layers=np.array(layers),
    )


def rebuilt(described: dict, arrays: dict) -> tf.keras.Model:
    """The model in Keras 2."""
    made = {}
    for layer in described["layers"]:
        weights = [array for name, array in arrays.items() if name.rpartition("/")[0] == layer["name"]]
        sources = [made[name] for name in layer["inputs"]]
        made[layer["name"]] = _layer(layer, sources, weights)
    last = described["layers"][-1]["name"]
    return tf.keras.Model([made[name] for name in described["inputs"]], made[last])


def _layer(layer: dict, sources: list, weights: list):
    kind, config, name = layer["class"], dict(layer["config"]), layer["name"]
    activation = config.pop("activation", "linear")
    if kind == "InputLayer":
        return tf.keras.Input(config["batch_shape"][1:], name=name)
    x = sources if len(sources) > 1 else sources[0]
    if kind == "CBAM":
        return _spatial(_channel(x, weights[:4], name), weights[4], name)
    if kind not in ("Activation", "Dropout"):
        made = getattr(LAYERS, kind)(name=name, **config)
        x = made(x)
        made.set_weights(weights)
    return _activated(x, activation)


def _activated(x, activation: str):
    """Keras 3's activations: its hard_sigmoid is another than Keras 2's."""
    if activation in ("linear", "softmax"):
        return x
    if activation == "hard_sigmoid":
        return tf.nn.relu6(x + 3.0) * (1 / 6)
    if activation in ("hard_silu", "hard_swish"):
        return x * (tf.nn.relu6(x + 3.0) * (1 / 6))
    return {"relu": tf.nn.relu, "silu": tf.nn.silu, "sigmoid": tf.sigmoid}[activation](x)


def _channel(x, weights: list, name: str):
    pooled = tf.concat([tf.reduce_mean(x, (1, 2), keepdims=True), tf.reduce_max(x, (1, 2), keepdims=True)], 1)
    reduce = LAYERS.Dense(weights[0].shape[1], name=f"{name}_reduce")
    expand = LAYERS.Dense(weights[2].shape[1], name=f"{name}_expand")
    gate = expand(tf.nn.relu(reduce(pooled)))
    reduce.set_weights(weights[:2])
    expand.set_weights(weights[2:])
    return x * tf.sigmoid(tf.reduce_sum(gate, 1, keepdims=True))


def _spatial(x, kernel, name: str):
    pooled = tf.concat([tf.reduce_mean(x, 3, keepdims=True), tf.reduce_max(x, 3, keepdims=True)], 3)
    conv = LAYERS.Conv2D(1, kernel.shape[0], padding="same", use_bias=False, name=f"{name}_conv")
    gate = tf.sigmoid(conv(pooled))
    conv.set_weights([kernel])
    return x * gate


if __name__ == "__main__":
    main(*sys.argv[1:])
