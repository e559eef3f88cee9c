"""The detector as a quantized torch network, its QONNX export, and the metadata a model carries."""
