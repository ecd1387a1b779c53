"""Backups: the documents and settings of indexes as files, and documents from and to a single Meilisearch."""
