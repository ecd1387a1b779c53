"""Replicas that move: what has to change (plan), one shard's way (move), many of them (run), and whether copies are
equal (compare, verify, repair). The steps' names are those of `docs/concepts/moving-shards.md`."""
