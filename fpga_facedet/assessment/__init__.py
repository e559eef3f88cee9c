"""Assessment: a model run by any engine over labelled pictures, and how good what it found is."""
