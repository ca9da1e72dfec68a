"""The hospitals of the simulation: their data, models, training and, by configuration, their attacks."""
