"""Cycle-accurate simulation of SystemVerilog modules that have one input and one output stream."""
