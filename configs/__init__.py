"""Configs of runs: one file per strategy; `common.py` holds the fields they share."""
