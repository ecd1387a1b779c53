"""Indexes of the cluster: their catalog and their settings, equal on all nodes."""
