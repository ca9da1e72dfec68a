"""Masks that are linear in a short secret, and everything that can be computed under them (docs/protocol.md).

    parameters   the one parameter set, its security argument, capacity checks
    stream       seeds to words and uniform residues
    ring         R_q in residues: transforms, sums, products          (ring_torch: the same on a torch device)
    public       the public elements a_b
    fixed_point  update -> integers -> weighted mean
    masks        secret, noise, y = x + a·s + e, and unmasking a weighted sum
    sharing      Shamir shares, sharings of zero
    decoding     opening with drop-outs and liars, dealer tests
    sketch       the public map P on y and on shares of s
    squares      shares of distances and norms, and their reading

Pure functions on numpy arrays; all randomness comes in as 32-byte seeds. No identities, no network, no torch.
"""
