"""Neighbours, weighted graphs, communities and k-means starts: what a partition is built from."""

from holdfast.graph.communities import communities, communities_at
from holdfast.graph.jaccard import adjacency, jaccard_graph, random_walk
from holdfast.graph.kmeans import kmeans, kmeans_from, kmeans_on_sample
from holdfast.graph.neighbours import Neighbours, nearest_neighbours, unit_rows

__all__ = [
    "Neighbours",
    "adjacency",
    "communities",
    "communities_at",
    "jaccard_graph",
    "kmeans",
    "kmeans_from",
    "kmeans_on_sample",
    "nearest_neighbours",
    "random_walk",
    "unit_rows",
]
