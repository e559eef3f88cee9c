"""Generate, prove and run FPGA face detectors: from a detector spec to a PYNQ overlay and a stream of faces."""

__version__ = "0.1.0"
