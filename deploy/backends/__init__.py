"""What runs a graph or an engine: ONNX Runtime, TensorRT, TensorRT-RTX. Each is imported only where it is used."""
