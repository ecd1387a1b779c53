"""All that people do with the PyPI package `meilisearch`: `python with_meilisearch.py URL KEY` writes a line a step."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import meilisearch
from steps import BOOKS, SETTINGS, VECTORS, Steps

step = Steps()
client = meilisearch.Client(sys.argv[1], sys.argv[2])
index = client.index("py-books")


def done(name, call, *arguments, **named):
    """A step that makes a task, and the task once it ended."""
    info = step(name, call, *arguments, **named)
    if info is not None:
        step(f"{name}: task", client.wait_for_task, info.task_uid, timeout_in_ms=20_000, interval_in_ms=10)
    return info


# the instance
step("health", client.health)
step("is healthy", client.is_healthy)
step("version", client.get_version)

# indexes
done("create index", client.create_index, "py-books", {"primaryKey": "id"})
done("create it again", client.create_index, "py-books")
step("get index", client.get_index, "py-books")
step("get raw index", client.get_raw_index, "py-books")
step("get unknown index", client.get_index, "nowhere")
step("get indexes", client.get_indexes)
step("get raw indexes", client.get_raw_indexes, {"limit": 1})
done("create another", client.create_index, "py-other")
done("update index", client.index("py-other").update, "number")
step("primary key", index.get_primary_key)

# documents
done("add documents", index.add_documents, BOOKS[:2])
step("add in batches", index.add_documents_in_batches, BOOKS[2:6], batch_size=2)
done("add json", index.add_documents_json, b'[{"id": 7, "title": "The Word for World Is Forest"}]')
done("add ndjson", index.add_documents_ndjson, b'{"id": 8, "title": "Time and Again"}\n')
done("add csv", index.add_documents_csv, b"id;title\n9;Nine\n", csv_delimiter=";")
done("add raw", index.add_documents_raw, b'{"id": 10, "title": "Ten"}', content_type="application/x-ndjson")
done("update documents", index.update_documents, BOOKS[6:])
done("update ndjson", index.update_documents_ndjson, b'{"id": 10, "year": 2010}')
done("update csv", index.update_documents_csv, b"id,year:number\n9,2009\n")
step("update in batches", index.update_documents_in_batches, BOOKS, batch_size=5)
done("after the batches", index.update_documents, BOOKS[:1], metadata="from-a-test")
step("get document", index.get_document, 1)
step("get fields of a document", index.get_document, 1, {"fields": ["title"]})
step("get unknown document", index.get_document, 99)
step("get documents", index.get_documents, {"limit": 3, "offset": 1, "fields": ["id", "title"]})
done("delete document", index.delete_document, 10)
done("delete by ids", index.delete_documents, [9, 99])
done("bad document", index.add_documents, [{"title": "no key"}])
done("bad id", index.add_documents, [{"id": "not good!"}])
done("infer no key", client.index("py-none").add_documents, [{"name": "x"}])

# settings
done("update settings", index.update_settings, SETTINGS)
step("get settings", index.get_settings)
step("get by filter", index.get_documents, {"filter": "year > 1970"})
for name, value in (
    ("ranking_rules", ["words", "typo", "sort", "year:desc"]),
    ("distinct_attribute", "year"),
    ("searchable_attributes", ["title"]),
    ("displayed_attributes", ["id", "title", "year", "genres"]),
    ("stop_words", ["of"]),
    ("synonyms", {"book": ["tome"]}),
    ("filterable_attributes", ["year"]),
    ("sortable_attributes", ["year"]),
    ("typo_tolerance", {"enabled": False}),
    ("pagination_settings", {"maxTotalHits": 5}),
    ("faceting_settings", {"maxValuesPerFacet": 2}),
    ("facet_search_settings", False),
    ("dictionary", ["J. K."]),
    ("separator_tokens", ["|"]),
    ("non_separator_tokens", ["@"]),
    ("embedders", {"own": {"source": "userProvided", "dimensions": 2}}),
    ("search_cutoff_ms", 900),
    ("prefix_search", "disabled"),
    ("proximity_precision", "byAttribute"),
    ("localized_attributes", [{"attributePatterns": ["*_en"], "locales": ["eng"]}]),
):
    done(f"update {name}", getattr(index, f"update_{name}"), value)
    step(f"get {name}", getattr(index, f"get_{name}"))
    done(f"reset {name}", getattr(index, f"reset_{name}"))
    step(f"get {name} again", getattr(index, f"get_{name}"))
done("reset settings", index.reset_settings)
step("settings after that", index.get_settings)
done("settings for the searches", index.update_settings, SETTINGS)
done("bad setting", index.update_settings, {"rankingRules": ["doggo"]})

# searches
for query, options in (
    ("", None),
    ("time", None),
    ("the left hand", {"limit": 2, "offset": 0}),
    ("tiem", {"showMatchesPosition": True, "attributesToHighlight": ["*"]}),
    ("planet", {"attributesToRetrieve": ["title"], "showRankingScore": True}),
    ("", {"filter": "year > 1970", "sort": ["year:asc", "title:desc"]}),
    ("", {"filter": [["genres = time", "genres = utopia"], "year != 1969"]}),
    ("", {"facets": ["genres", "year"], "limit": 0}),
    ("time", {"page": 1, "hitsPerPage": 1}),
    ("word world", {"matchingStrategy": "all", "attributesToCrop": ["title"], "cropLength": 2}),
    ("", {"distinct": "year", "attributesToRetrieve": ["id"]}),
    ("time", {"attributesToSearchOn": ["genres"]}),
    ("x", {"filter": "title = x"}),
    ("x", {"limit": "many"}),
    ("x", {"doggo": 1}),
):
    step(f"search {query!r} {options}", index.search, query, options)
step("facet search", index.facet_search, "genres", "ti")
step("facet search of none", index.facet_search, "title")
step("multi search", client.multi_search, [{"indexUid": "py-books", "q": "time"}, {"indexUid": "py-other", "q": ""}])
step(
    "federation",
    client.multi_search,
    [{"indexUid": "py-books", "q": "time"}, {"indexUid": "py-books", "q": "solaris"}],
    {"limit": 3},
)
step("multi search of none", client.multi_search, [{"indexUid": "nowhere", "q": ""}])
vectors = client.index("py-vectors")
done("embedder", vectors.update_embedders, {"own": {"source": "userProvided", "dimensions": 2}})
done("vectors", vectors.add_documents, VECTORS, primary_key="id")
step("similar", vectors.get_similar_documents, {"id": 1, "embedder": "own", "limit": 3})
hybrid = {"embedder": "own", "semanticRatio": 1.0}
step("by vector", vectors.search, "", {"vector": [1, 3], "hybrid": hybrid, "limit": 2})
step("with vectors", vectors.get_document, 1, {"retrieveVectors": "true"})
step("index stats", index.get_stats)
step("all stats", client.get_all_stats)

# keys and tokens
uid = "00000000-0000-4000-8000-0000000000a1"
key = step("create key", client.create_key, {"uid": uid, "actions": ["search"], "indexes": ["py-*"], "expiresAt": None})
step("get key", client.get_key, uid)
step("update key", client.update_key, uid, {"name": "a name"})
step("get keys", client.get_keys, {"limit": 2})
step("bad key", client.create_key, {"actions": ["doggo"], "indexes": ["*"], "expiresAt": None})
if key is not None:
    searcher = meilisearch.Client(sys.argv[1], key.key)
    step("search with the key", searcher.index("py-books").search, "solaris")
    step("add with the key", searcher.index("py-books").add_documents, BOOKS[:1])
    token = client.generate_tenant_token(uid, {"py-books": {"filter": "year > 1970"}}, api_key=key.key)
    step("search with the token", meilisearch.Client(sys.argv[1], token).index("py-books").search, "")
    step("another index with the token", meilisearch.Client(sys.argv[1], token).index("py-other").search, "")
step("delete key", client.delete_key, uid)
step("get deleted key", client.get_key, uid)
step("wrong key", meilisearch.Client(sys.argv[1], "wrong").get_indexes)

# tasks
step("tasks", client.get_tasks, {"limit": 3, "indexUids": ["py-books"]})
step("failed tasks", client.get_tasks, {"statuses": ["failed"]})
step("tasks of the index", index.get_tasks, {"types": ["indexCreation"]})
step("unknown task", client.get_task, 100_000)
done("cancel", client.cancel_tasks, {"statuses": ["enqueued"]})
done("delete tasks", client.delete_tasks, {"statuses": ["failed"]})
step("failed tasks then", client.get_tasks, {"statuses": ["failed"]})

# the rest
step("features", client.get_experimental_features)
step("webhooks", client.get_webhooks)
done("delete by filter", index.delete_documents, filter="year > 1970")
done("delete all", index.delete_all_documents)
done("delete index", client.delete_index, "py-books")
done("delete it again", client.delete_index, "py-books")
done("snapshot", client.create_snapshot)
done("dump", client.create_dump)
done("swap", client.swap_indexes, [{"indexes": ["py-vectors", "py-other"]}])
step("after the swap", client.index("py-other").get_documents, {"limit": 1})
