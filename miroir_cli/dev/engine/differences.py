"""Where the embedded node and Meilisearch 1.50 answer differently, by name; the contract suite asserts each."""

from __future__ import annotations

from types import MappingProxyType

DIFFERENCES = MappingProxyType(
    {
        "engine-name": '`/version` of the embedded node says `"engine": "miroir-embedded"`.',
        "unsupported-is-501": (
            "What Meilisearch can do and the embedded node cannot (embedders that ask a model, federation, `frequency`,"
            " dumps, ...) is refused with status 501 and code `miroir_not_supported`."
        ),
        "document-that-is-no-object": (
            "An array with a number in it instead of a document is `malformed_payload`, status 400; Meilisearch says"
            " `internal`, status 500."
        ),
        "known-prefix-is-not-exact": (
            "`exactness` leaves the last word of a query out for a document that has no such whole word; Meilisearch"
            " does so only when no document of the node has it, so that documents decide for each other."
        ),
        "paths-are-not-shared": (
            "A document is ranked by the ways it matches itself; in Meilisearch a document in the same bucket can add"
            " one, for example the typo that makes another document lose its exact match."
        ),
        "every-split-counts": (
            "A word may be any two neighbouring words of the document; Meilisearch tries only the split most frequent"
            " on the node."
        ),
    }
)
