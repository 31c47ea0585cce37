"""Neighbours, weighted graphs, communities and k-means starts: what a partition is built from."""

from holdfast.graph.agreement import agreement_graph, neighbour_pairs
from holdfast.graph.communities import communities, communities_at, community_links
from holdfast.graph.density import (
    DensityTree,
    density_tree,
    join_beyond_lists,
    spread_labels,
    weight_shares,
)
from holdfast.graph.jaccard import adjacency, jaccard_graph, random_walk
from holdfast.graph.kmeans import kmeans, kmeans_from, kmeans_on_sample
from holdfast.graph.linkage import can_link, closeness_graph, fine_communities, linkage_at, linkage_path
from holdfast.graph.neighbours import Neighbours, nearest_neighbours, unit_rows

__all__ = [
    "DensityTree",
    "Neighbours",
    "adjacency",
    "agreement_graph",
    "can_link",
    "closeness_graph",
    "communities",
    "communities_at",
    "community_links",
    "density_tree",
    "fine_communities",
    "jaccard_graph",
    "join_beyond_lists",
    "kmeans",
    "kmeans_from",
    "kmeans_on_sample",
    "linkage_at",
    "linkage_path",
    "nearest_neighbours",
    "neighbour_pairs",
    "random_walk",
    "spread_labels",
    "unit_rows",
    "weight_shares",
]
