"""The one loop and what it stands on: devices, checkpoints, metrics on disk."""
