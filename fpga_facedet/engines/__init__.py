"""Engines: one small interface, one file for each way to run an accelerator."""
