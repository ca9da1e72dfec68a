"""What a party holds while it works, under tracemalloc: the bounds that docs/protocol.md, section 4, states."""

import pytest

from benchmarks.masking.costs import Federation, masked_round


@pytest.mark.parametrize(("n", "d", "times"), [(20, 10**5, 4.0), (5, 10**6, 1.75)])
def test_a_client_holds_its_upload_once_and_the_server_no_copy_of_the_uploads(n, d, times):
    masked_round(Federation(5, 5000), 0)  # tables and kernels
    costs = masked_round(Federation(n, d), 0, weigh_memory=True)
    y = 8 * d
    assert costs.client_peak < times * y
    assert costs.server_peak < 0.7 * n * y
