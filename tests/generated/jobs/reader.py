"""A recurrent network that reads texts of any length."""

from collections.abc import Sequence

from ..config import ModelConfig
from ..durable import keras


def build(config: ModelConfig, vocabulary: Sequence[str]) -> keras.Model:
    """Builds the model: (batch,) texts → (batch, 1) float32 logits."""
    layers, units = keras.layers, config.hidden[0]
    inputs = keras.Input((), dtype="string")
    x = layers.TextVectorization(vocabulary=list(vocabulary), name="text")(inputs)
    # Padded with 0 to the longest of a batch; 1 is a word that is not known.
    x = layers.Embedding(len(vocabulary) + 2, units, mask_zero=True, name="words")(x)
    x = layers.Dropout(config.dropout, name="dropout")(layers.GRU(units, name="state")(x))
    return keras.Model(inputs, layers.Dense(1, name="opinion")(x), name="reader")
