"""Better than plain post-training quantization, with numpy and ONNX Runtime alone: repairs that a recipe carries."""
