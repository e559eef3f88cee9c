"""Proof that an accelerator computes what its model says."""
