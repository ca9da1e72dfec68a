"""What a masked round costs: beside Flower's SecAgg+ (`compare`) and as it grows (`python -m benchmarks.masking`)."""
