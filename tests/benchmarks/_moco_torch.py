"""MoCo-v2 stated in PyTorch, of the official code's order and of nothing of ours.

https://github.com/facebookresearch/moco at 7397dfe: `moco/builder.py`, and for the symmetric loss
the demo notebook of CIFAR-10. What differs from them: each device's batch norm is a run of
neighbouring images of one batch (the notebook deals images out to its groups by turns), random
numbers are given, and the queue may end within a batch.
"""

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class GroupedBatchNorm(nn.BatchNorm2d):
    """Every run of neighbouring images as on a device of its own, by torch's own batch norm.

    The running statistics are the mean of those that the devices would have been left with.
    """

    def __init__(self, channels: int, groups: int):
        super().__init__(channels)
        self.groups = groups

    def forward(self, x):
        outputs, means, variances = [], [], []
        for part in x.chunk(self.groups):
            mean, variance = self.running_mean.clone(), self.running_var.clone()
            scale, shift = self.weight, self.bias
            outputs.append(
                F.batch_norm(part, mean, variance, scale, shift, True, self.momentum, self.eps)
            )
            means.append(mean)
            variances.append(variance)
        self.running_mean.copy_(torch.stack(means).mean(0))
        self.running_var.copy_(torch.stack(variances).mean(0))
        return torch.cat(outputs)


class Encoder(nn.Module):
    """The test's encoder, `[B, 3, H, W]` -> `[B, 6]`."""

    def __init__(self, groups: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.bn1 = GroupedBatchNorm(6, groups)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.conv2(x)).mean((2, 3))


class Head(nn.Module):
    """MoCo-v2's: linear, ReLU, linear."""

    def __init__(self, hidden_dim: int, dim: int):
        super().__init__()
        self.hidden = nn.Linear(6, hidden_dim)
        self.output = nn.Linear(hidden_dim, dim)

    def forward(self, x):
        return self.output(F.relu(self.hidden(x)))


class ProjectedEncoder(nn.Module):
    def __init__(self, groups: int, hidden_dim: int, dim: int):
        super().__init__()
        self.encoder = Encoder(groups)
        self.head = Head(hidden_dim, dim)

    def forward(self, x):
        return self.head(self.encoder(x))


class Step(NamedTuple):
    """What one step computed; parameters, statistics and queue are read off `MoCo`."""

    logits: list[torch.Tensor]  # `[B, 1 + K]` of each direction
    loss: float  # the number whose gradient was taken
    accuracy: float
    gradients: dict[str, torch.Tensor]


class MoCo:
    """Query encoder, key encoder, queue `[D, K]` and pointer; the methods are the official code's.

    Args:
      encoder: the query encoder.
      queue: `[K, D]`, unit norm.
      sgd: of `torch.optim.SGD`.
    """

    def __init__(self, encoder, queue, *, m: float, T: float, sgd: dict):
        self.encoder_q, self.encoder_k = encoder.train(), copy.deepcopy(encoder).train()
        self.encoder_k.requires_grad_(False)
        self.queue, self.pointer = queue.T.clone(), 0
        self.m, self.T = m, T
        self.optimizer = torch.optim.SGD(self.encoder_q.parameters(), lr=0.0, **sgd)

    def step(self, x1, x2, shuffles, learning_rate: float) -> Step:
        """One training step on two views `[B, 3, H, W]`; two shuffles make it symmetric."""
        self.momentum_update_key_encoder()
        if len(shuffles) == 1:
            loss, logits, k = self.contrastive_loss(x1, x2, shuffles[0])
            every_logits = [logits]
        else:
            loss_12, logits_12, k2 = self.contrastive_loss(x1, x2, shuffles[0])
            loss_21, logits_21, k1 = self.contrastive_loss(x2, x1, shuffles[1])
            loss, k = loss_12 + loss_21, torch.cat([k1, k2])
            every_logits = [logits_12, logits_21]
        self.optimizer.zero_grad()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in self.encoder_q.named_parameters()}
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.dequeue_and_enqueue(k)
        right = torch.cat([logits.argmax(1) == 0 for logits in every_logits])
        return Step(every_logits, loss.item(), right.double().mean().item(), gradients)

    @torch.no_grad()
    def momentum_update_key_encoder(self):
        pairs = zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True)
        for q, k in pairs:
            k.copy_(k * self.m + q * (1 - self.m))

    def contrastive_loss(self, im_q, im_k, shuffle):
        """Loss and logits of one view's queries against the other's keys, and those keys."""
        q = F.normalize(self.encoder_q(im_q), dim=1)
        with torch.no_grad():
            k = F.normalize(self.encoder_k(im_k[shuffle]), dim=1)
            k = self.batch_unshuffle(k, shuffle)
        logits = self.logits(q, k)
        labels = torch.zeros(len(q), dtype=torch.long)
        return F.cross_entropy(logits, labels), logits.detach(), k

    def batch_unshuffle(self, k, shuffle):
        return k[shuffle.argsort()]

    def logits(self, q, k):
        """`[B, 1 + K]`."""
        l_pos = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
        l_neg = torch.einsum("nc,ck->nk", q, self.queue.clone())
        return torch.cat([l_pos, l_neg], dim=1) / self.T

    def dequeue_and_enqueue(self, k):
        slots = (self.pointer + torch.arange(len(k))) % self.queue.shape[1]
        self.queue[:, slots] = k.T
        self.pointer = (self.pointer + len(k)) % self.queue.shape[1]
