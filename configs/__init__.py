"""Configs of runs: one file per strategy; `scales.py` has their fields and numbers."""
