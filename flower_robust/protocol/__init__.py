"""Rounds as pure steps: frozen state and bytes in, next state and bytes out. No Flower, no network."""
