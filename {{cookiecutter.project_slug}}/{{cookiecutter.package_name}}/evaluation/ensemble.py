"""An ensemble: the mean of what several models predict, whatever their kinds."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from .predictions import Predictions


def combine(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' predicted probabilities.

    The loss of an example is the negative logarithm of the mean probability of its true class. All
    is computed from logarithms, so that a probability too small for a number counts as it should.

    Args:
        members: at least one, for the same examples in the same order.
    """
    labels = members[0].labels
    total = reduce(np.logaddexp, [member.log_probabilities for member in members])
    mean = total - np.log(len(members))
    return Predictions(labels, mean, -mean[np.arange(len(labels)), labels])
