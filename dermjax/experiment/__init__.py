"""One file per thing a run does; the only rooms that unpack the config."""
