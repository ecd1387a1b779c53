"""The routes of Meilisearch's API, one module for each noun: a handler translates and calls one verb."""
