"""From a QONNX model to the SystemVerilog of its accelerator, in named steps; see `flow`."""
