"""One wrapped unmasked round over one round of plain FedAvg, in the same Flower simulation."""
