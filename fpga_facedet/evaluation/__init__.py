"""Evaluation: average precision by the WIDER FACE protocol."""
