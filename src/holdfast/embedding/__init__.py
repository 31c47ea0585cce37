"""Images to vectors: encoders, and the pipeline that runs them over folders."""

from holdfast.embedding.base import Encoder
from holdfast.embedding.embedder import Embedder
from holdfast.embedding.pipeline import FolderEmbedding, Quarantined, embed_folder, quarantine_path

__all__ = ["Embedder", "Encoder", "FolderEmbedding", "Quarantined", "embed_folder", "quarantine_path"]
