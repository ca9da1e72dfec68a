"""Model, records and training."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, x):
        return self.layers(x)


def load_data(partition_id: int):
    generator = torch.Generator().manual_seed(partition_id)
    x = torch.randn(128, 8, generator=generator)
    y = (x[:, 0] + x[:, 1] > 0).long()
    return x, y


def train(net, partition_id, epochs, lr, batch_size):
    x, y = load_data(partition_id)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    net.train()
    running = 0.0
    for _ in range(epochs):
        for start in range(0, len(x), batch_size):
            loss = nn.functional.cross_entropy(net(x[start : start + batch_size]), y[start : start + batch_size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
    return running / epochs


def test(net, partition_id):
    x, y = load_data(partition_id)
    net.eval()
    with torch.no_grad():
        outputs = net(x)
    return nn.functional.cross_entropy(outputs, y).item(), (outputs.argmax(1) == y).float().mean().item()
