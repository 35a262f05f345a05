"""Many parameters as one: an optimizer then takes one tensor instead of a hundred."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def flatten(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Return one vector of all parameters, whose gradient is the vector of their gradients.

    The parameters and their gradients become views of it, so that what changes the one changes the other; a
    gradient may be zeroed or added to, not replaced.
    """
    flat = nn.Parameter(torch.cat([each.detach().flatten() for each in parameters]))
    flat.grad = torch.zeros_like(flat)
    sizes = [each.numel() for each in parameters]
    gradients = torch.split(flat.grad, sizes)
    for each, values, gradient in zip(parameters, torch.split(flat.detach(), sizes), gradients, strict=True):
        each.data = values.view_as(each)
        each.grad = gradient.view_as(each)
    return flat
