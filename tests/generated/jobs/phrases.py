"""Short reviews, how much each counts, and whether it is a good one; made from a seed."""

import numpy as np

from ..config import DataConfig
from ..durable import ArrayData, Data, hold_out, keras

SUBJECTS = ("the film", "this plot", "its music", "the end")
WORDS = {"good": 1, "fine": 1, "lovely": 1, "bad": 0, "dull": 0, "awful": 0}


def load(config: DataConfig) -> Data:
    """Makes the reviews: x texts, y 0 or 1 float32, weight float32, each (examples,)."""
    random = np.random.default_rng(0)
    x, y = [], []
    for _ in range(400):
        word = random.choice(list(WORDS))
        very = "very " * random.integers(0, 4)
        x.append(f"{random.choice(SUBJECTS)} is {very}{word}")
        y.append(WORDS[word])
    weight = random.uniform(0.5, 2, len(x)).astype(np.float32)
    examples = np.array(x, object), np.array(y, np.float32), weight
    training, validation = hold_out(examples, config.validation)
    adapted = keras.layers.TextVectorization()
    adapted.adapt(training[0].tolist())
    # Kept in every checkpoint: another one would be other data, and is refused.
    words = adapted.get_vocabulary(include_special_tokens=False)
    details = {"data.vocabulary": [str(word) for word in words]}
    return ArrayData(training, validation, config.batch_size, details=details)
