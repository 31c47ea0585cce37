"""torch modules: encoders and the clusterer that stands on them."""

from holdfast.nn.clusterer import Assignment, Clusterer, Preparation
from holdfast.nn.encoders import Autoencoder, Encoder, Projection

__all__ = ["Assignment", "Autoencoder", "Clusterer", "Encoder", "Preparation", "Projection"]
