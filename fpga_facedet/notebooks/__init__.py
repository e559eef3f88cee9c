"""Notebooks for the board, delivered by `pynq get-notebooks`; the fifth is for a PC. Kept with outputs and pictures."""
