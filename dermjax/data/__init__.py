"""From what a user brings (a CSV and photographs) to batches of pixels on a device."""
