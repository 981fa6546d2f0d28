"""What has no ONNX expression, or no meaning at inference, and why: the error for a model that uses it says so."""

from __future__ import annotations

from keras import layers

from converters.keras_internals import image, linalg, math, nn, quantizers
from converters.registry import refuses

refuses("its results are complex numbers, which ONNX does not have", linalg.Eig)
refuses("derivatives belong to training", linalg.JVP)
refuses("ONNX has no complex numbers; use pairs of real ones", math.ViewAsComplex, math.ViewAsReal, nn.Polar)
refuses("it searches over alignments of a training target", nn.CTCLoss)
refuses("it draws random numbers, which an engine cannot repeat", image.ElasticTransform)
refuses("it is the base class of others", math.SegmentReduction)
refuses("it hashes text; do so outside of the model", layers.Hashing, layers.HashedCrossing)
refuses("it looks text up; do so outside of the model", layers.StringLookup, layers.TextVectorization)
refuses(
    "Keras forgets its arguments in a symbolic call; call it as keras.quantizers.fake_quant_with_min_max_vars(...)",
    quantizers.FakeQuantWithMinMaxVars,
)
