"""A stock Flower app: it knows nothing of flower-robust."""
