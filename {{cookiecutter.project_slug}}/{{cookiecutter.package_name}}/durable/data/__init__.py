"""From a step to a batch: the protocol of a data set, the order of its examples, and sources."""
