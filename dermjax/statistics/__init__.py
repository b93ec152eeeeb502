"""What the predictions say: measures of a classifier."""
