"""HLS layers: C++ for Vitis HLS from the same folded graph that the SystemVerilog comes from."""
