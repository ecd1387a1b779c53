"""Shutting out what others may still send to the nodes: the keys of slots (protocol rules F)."""
