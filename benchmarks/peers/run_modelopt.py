"""In ModelOpt's environment: GRAPH CALIBRATION.npz METHOD OUTPUT.

METHOD: max or entropy (INT8), autocast (FP16), autocast-io (FP16 inputs and outputs too).
"""

import sys

import numpy as np


def main(graph: str, calibration: str, method: str, output: str) -> None:
    """Writes the quantized graph, floating where it is not INT8, as the tool makes it by default for a CPU."""
    if method.startswith("autocast"):
        import onnx
        from modelopt.onnx.autocast import convert_to_mixed_precision

        kept = not method.endswith("-io")
        model = convert_to_mixed_precision(graph, keep_io_types=kept, calibration_data=calibration)
        onnx.save(model, output)
        return
    from modelopt.onnx.quantization import quantize

    with np.load(calibration) as archive:
        data = {name: archive[name] for name in archive.files}
    quantize(
        graph,
        quantize_mode="int8",
        calibration_data=data,
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=output,
        log_level="WARNING",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
