"""All that people do with the PyPI package `meilisearch-python-sdk`: `python with_python_sdk.py URL KEY`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from meilisearch_python_sdk import Client
from meilisearch_python_sdk.models.client import KeyCreate, KeyUpdate
from meilisearch_python_sdk.models.search import Federation, Hybrid, SearchParams
from meilisearch_python_sdk.models.settings import (
    Embedders,
    Faceting,
    LocalizedAttributes,
    MeilisearchSettings,
    Pagination,
    ProximityPrecision,
    TypoTolerance,
    UserProvidedEmbedder,
)
from steps import BOOKS, VECTORS, Steps

step = Steps()
client = Client(sys.argv[1], sys.argv[2])


def done(name, call, *arguments, **named):
    """A step that makes a task, and the task once it ended."""
    info = step(name, call, *arguments, **named)
    if info is not None:
        step(f"{name}: task", client.wait_for_task, info.task_uid, timeout_in_ms=20_000, interval_in_ms=10)
    return info


step("health", client.health)
step("version", client.get_version)
step("create index", client.create_index, "sdk-books", primary_key="id")
step("get or create", client.get_or_create_index, "sdk-other", "number")
step("get index", client.get_index, "sdk-books")
step("get raw index", client.get_raw_index, "nowhere")
step("get indexes", client.get_indexes)
step("get raw indexes", client.get_raw_indexes, limit=1)
index = client.index("sdk-books")
step("fetch info", index.fetch_info)
step("primary key", index.get_primary_key)

# documents
done("add documents", index.add_documents, BOOKS[:3])
done("add compressed", index.add_documents, BOOKS[3:5], compress=True, primary_key="id")
step("add in batches", index.add_documents_in_batches, BOOKS[5:], batch_size=2)
folder = Path(sys.argv[3])
(folder / "more.csv").write_text("id,title\n20,twenty\n21,twenty one\n")
(folder / "more.ndjson").write_text('{"id": 22, "title": "twenty two"}\n')
done("add a raw csv", index.add_documents_from_raw_file, folder / "more.csv")
done("add a raw ndjson", index.add_documents_from_raw_file, folder / "more.ndjson")
done("add a file", index.add_documents_from_file, folder / "more.ndjson")
done("update documents", index.update_documents, [{"id": 1, "pages": 264}], custom_metadata="from-a-test")
step("update in batches", index.update_documents_in_batches, [{"id": 20, "x": 1}, {"id": 21, "x": 2}], batch_size=1)
done("after the batches", index.update_documents, [{"id": 2, "pages": 387}])
step("get document", index.get_document, "1")
step("get fields", index.get_document, "1", fields=["title"])
step("get unknown document", index.get_document, "99")
step("get documents", index.get_documents, limit=2, offset=1)
step("get by ids", index.get_documents, ids=["3", "4"])
done("delete one", index.delete_document, "20")
done("delete some", index.delete_documents, ["21", "22"])

# settings
settings = MeilisearchSettings(
    filterable_attributes=["year", "genres", "id"],
    sortable_attributes=["year", "title"],
    searchable_attributes=["title", "genres"],
    stop_words=["the"],
    synonyms={"planet": ["solaris"]},
    typo_tolerance=TypoTolerance(enabled=True, disable_on_words=["ubik"]),
    faceting=Faceting(max_values_per_facet=9),
    pagination=Pagination(max_total_hits=99),
)
done("update settings", index.update_settings, settings)
step("get settings", index.get_settings)
for name, value in (
    ("ranking_rules", ["words", "typo", "sort", "year:desc"]),
    ("distinct_attribute", "year"),
    ("displayed_attributes", ["id", "title"]),
    ("stop_words", ["of"]),
    ("synonyms", {"book": ["tome"]}),
    ("typo_tolerance", TypoTolerance(enabled=False)),
    ("faceting", Faceting(max_values_per_facet=2)),
    ("pagination", Pagination(max_total_hits=5)),
    ("separator_tokens", ["|"]),
    ("non_separator_tokens", ["@"]),
    ("word_dictionary", ["J. K."]),
    ("proximity_precision", ProximityPrecision.BY_ATTRIBUTE),
    ("embedders", Embedders(embedders={"own": UserProvidedEmbedder(dimensions=2)})),
    ("search_cutoff_ms", 900),
    ("localized_attributes", [LocalizedAttributes(attribute_patterns=["*_en"], locales=["eng"])]),
    ("facet_search", False),
    ("prefix_search", "disabled"),
):
    done(f"update {name}", getattr(index, f"update_{name}"), value)
    step(f"get {name}", getattr(index, f"get_{name}"))
    done(f"reset {name}", getattr(index, f"reset_{name}"))
done("settings for the searches", index.update_settings, settings)

# searches
step("search", index.search, "time")
step("search all", index.search, "", limit=3, offset=1)
step("search filter", index.search, "", filter="year > 1970", sort=["year:asc", "title:desc"])
step("search facets", index.search, "", facets=["genres", "year"], limit=1)
step("search marked", index.search, "tiem", attributes_to_highlight=["*"], show_matches_position=True)
step("search cropped", index.search, "hand", attributes_to_crop=["title"], crop_length=2, crop_marker="~")
step("search pages", index.search, "the time", hits_per_page=2, page=1, matching_strategy="all")
step("search scores", index.search, "planet", show_ranking_score=True, ranking_score_threshold=0.1)
step("search distinct", index.search, "", distinct="year", attributes_to_retrieve=["id"])
step("search elsewhere", index.search, "time", attributes_to_search_on=["genres"])
step("search refused", index.search, "", filter="title = x")
step("facet search", index.facet_search, "time", facet_name="genres", facet_query="ti")
both = [SearchParams(index_uid="sdk-books", query="time"), SearchParams(index_uid="sdk-books", query="forest")]
step("multi search", client.multi_search, both)
step("federation", client.multi_search, both, federation=Federation(limit=3))
vectors = client.index("sdk-vectors")
done("embedder", vectors.update_embedders, Embedders(embedders={"own": UserProvidedEmbedder(dimensions=2)}))
done("vectors", vectors.add_documents, VECTORS, primary_key="id")
step("similar", vectors.search_similar_documents, "1", embedder="own", limit=3)
step("by vector", vectors.search, "", vector=[1.0, 3.0], hybrid=Hybrid(embedder="own", semantic_ratio=1.0), limit=2)
step("stats", index.get_stats)
step("all stats", client.get_all_stats)

# keys and tokens
wanted = KeyCreate(description="d", actions=["search"], indexes=["*"], expires_at=None)
key = step("create key", client.create_key, wanted)
if key is not None:
    step("update key", client.update_key, KeyUpdate(key=key.key, name="a name"))
    step("get key", client.get_key, key.key)
    searcher = Client(sys.argv[1], key.key)
    step("search with the key", searcher.index("sdk-books").search, "solaris")
    step("add with the key", searcher.index("sdk-books").add_documents, BOOKS[:1])
    token = client.generate_tenant_token({"sdk-books": {"filter": "year > 1970"}}, api_key=key)
    step("search with the token", Client(sys.argv[1], token).index("sdk-books").search, "")
    step("delete key", client.delete_key, key.key)
step("get keys", client.get_keys)

# tasks
step("tasks", client.get_tasks, index_ids=["sdk-books"], types=["documentAdditionOrUpdate"])
step("one task", client.get_task, 0)
done("cancel", client.cancel_tasks, statuses=["enqueued"])
done("delete tasks", client.delete_tasks, statuses=["failed"])

# the rest
step("features", client.get_experimental_features)
step("webhooks", client.get_webhooks)
done("delete by filter", index.delete_documents_by_filter, "year > 1970")
done("delete all", index.delete_all_documents)
step("delete if exists", client.delete_index_if_exists, "sdk-books")
step("delete it again", client.delete_index_if_exists, "sdk-books")
done("snapshot", client.create_snapshot)
done("dump", client.create_dump)
done("swap", client.swap_indexes, [("sdk-vectors", "sdk-other")])
step("after the swap", client.index("sdk-other").get_documents, limit=1)
