"""Pure training steps: `(state, batch) -> (state, metrics)`."""
