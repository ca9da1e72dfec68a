"""The server of the simulation: both arms on the same hospitals, their evaluation and the run folder."""
