"""The Flower app that benchmarks/flower_round runs."""
