"""miroir: several Meilisearch servers as one sharded, replicated search cluster."""

__version__ = "0.1.0"
