"""The embedded node: a small Meilisearch-compatible server for development, demo and tests."""
