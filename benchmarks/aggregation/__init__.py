"""Speed and memory of every rule, beside ByzFL's and Flower's own: `python -m benchmarks.aggregation`."""
