"""The detector as a quantized torch network, its QONNX export, and the metadata a model carries."""

import warnings

# Brevitas says at every import that an optional package for large language models is absent.
warnings.filterwarnings("ignore", message="fast_hadamard_transform package not found")
