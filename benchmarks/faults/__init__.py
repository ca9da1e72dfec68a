"""The table of faults: what a round comes to when clients fail, by step, kind and count."""
