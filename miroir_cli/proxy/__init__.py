"""`miroir serve`: the cluster as one Meilisearch, over the same verbs as the command line."""
