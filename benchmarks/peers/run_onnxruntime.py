"""In ONNX Runtime's environment: GRAPH CALIBRATION.npz METHOD OUTPUT.

METHOD: minmax, entropy, percentile (INT8), float16, float16-io (FP16 inputs and outputs too).
"""

import sys
from pathlib import Path

import numpy as np

BATCH = 32


def main(graph: str, calibration: str, method: str, output: str) -> None:
    """Writes the quantized graph: static Q/DQ, symmetric, weights per channel, biases floating as TensorRT needs them.

    float16: onnxconverter-common's conversion, inputs and outputs kept; float16-io: these FP16 too.
    """
    if method.startswith("float16"):
        import onnx
        from onnxconverter_common import float16

        kept = not method.endswith("-io")
        onnx.save(float16.convert_float_to_float16(onnx.load(graph), keep_io_types=kept), output)
        return
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with np.load(calibration) as archive:
        data = {name: archive[name] for name in archive.files}
    count = len(next(iter(data.values())))
    size = max(size for size in range(1, BATCH + 1) if count % size == 0)  # its histograms want batches of one size
    batches = iter([{name: a[i : i + size] for name, a in data.items()} for i in range(0, count, size)])

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    prepared = str(Path(output).with_suffix(".prepared.onnx"))
    quant_pre_process(graph, prepared, skip_optimization=True, skip_symbolic_shape=True)
    methods = quantization.CalibrationMethod
    quantization.quantize_static(
        prepared,
        output,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method={"minmax": methods.MinMax, "entropy": methods.Entropy, "percentile": methods.Percentile}[
            method
        ],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    Path(prepared).unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
