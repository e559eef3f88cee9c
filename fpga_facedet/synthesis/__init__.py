"""From an accelerator to an overlay: the design around it, Vivado's script for it, and the packaged folder."""
