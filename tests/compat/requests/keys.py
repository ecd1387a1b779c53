"""Keys and tenant tokens: made, listed, changed, deleted, and what each may do."""

from __future__ import annotations

from tests.compat.request import MASTER, Ask, key_of, tenant_token

SEARCHER = "00000000-0000-4000-8000-000000000001"
BOOKS_ONLY = "00000000-0000-4000-8000-000000000002"
EXPIRED = "00000000-0000-4000-8000-000000000003"
ADMIN = "00000000-0000-4000-8000-000000000004"
RESERVED = "00000000-0000-4000-8000-000000000005"
GONE = "00000000-0000-4000-8000-00000000000f"
LATER = "2999-01-01T00:00:00Z"
SEARCH_BODY = {"q": "dune"}

BOOKS = "/indexes/kb/search"
OTHERS = "/indexes/ko/search"

REQUESTS = (
    Ask("POST", "/indexes/kb/documents?primaryKey=id", [{"id": 1, "title": "Dune", "who": 1}, {"id": 2, "who": 2}]),
    Ask("PATCH", "/indexes/kb/settings", {"filterableAttributes": ["who"]}),
    Ask("POST", "/indexes/ko/documents?primaryKey=id", [{"id": 1, "title": "Dune"}]),
    # made
    Ask("POST", "/keys", {"uid": SEARCHER, "actions": ["search"], "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"uid": BOOKS_ONLY, "name": "books", "description": "a test's", "actions": ["search"], "indexes": ["kb*"], "expiresAt": LATER}),
    Ask("POST", "/keys", {"uid": ADMIN, "actions": ["*"], "indexes": ["*"], "expiresAt": "2999-01-01"}),
    Ask("POST", "/keys", {"actions": ["search", "documents.*"], "indexes": ["kb"], "expiresAt": None}),
    Ask("POST", "/keys", {"uid": SEARCHER, "actions": ["search"], "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"uid": EXPIRED, "actions": ["search"], "indexes": ["*"], "expiresAt": "2001-01-01T00:00:00Z"}),
    # not made
    Ask("POST", "/keys", {}),
    Ask("POST", "/keys", {"indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"actions": ["search"], "expiresAt": None}),
    Ask("POST", "/keys", {"actions": ["search"], "indexes": ["*"]}),
    Ask("POST", "/keys", {"actions": ["doggo"], "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"actions": "search", "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"actions": ["search"], "indexes": ["not good"], "expiresAt": None}),
    Ask("POST", "/keys", {"actions": ["search"], "indexes": "kb", "expiresAt": None}),
    Ask("POST", "/keys", {"actions": ["search"], "indexes": ["*"], "expiresAt": "soon"}),
    Ask("POST", "/keys", {"actions": ["search"], "indexes": ["*"], "expiresAt": 7}),
    Ask("POST", "/keys", {"uid": "x", "actions": ["search"], "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"uid": 7, "actions": ["search"], "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"name": 7, "actions": ["search"], "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"description": 7, "actions": ["search"], "indexes": ["*"], "expiresAt": None}),
    Ask("POST", "/keys", {"actions": ["search"], "indexes": ["*"], "expiresAt": None, "doggo": 1}),
    Ask("POST", "/keys", []),
    Ask("POST", "/keys", "{"),
    Ask("POST", "/keys", "{}", type=None),
    # read
    Ask("GET", "/keys"),
    Ask("GET", "/keys?limit=1"),
    Ask("GET", "/keys?limit=1&offset=1"),
    Ask("GET", "/keys?limit=many"),
    Ask("GET", "/keys?doggo=1"),
    Ask("GET", f"/keys/{BOOKS_ONLY}"),
    Ask("GET", f"/keys/{key_of(BOOKS_ONLY)}"),
    Ask("GET", f"/keys/{GONE}"),
    Ask("GET", "/keys/doggo"),
    # changed
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"name": "only books", "description": None}),
    Ask("PATCH", f"/keys/{key_of(BOOKS_ONLY)}", {"description": "again"}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"actions": ["*"]}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"indexes": ["*"]}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"uid": GONE}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"expiresAt": None}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"key": "x"}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"doggo": 1}),
    Ask("PATCH", f"/keys/{BOOKS_ONLY}", {"name": 7}),
    Ask("PATCH", f"/keys/{GONE}", {"name": "x"}),
    Ask("PUT", f"/keys/{BOOKS_ONLY}", {}),
    # used
    Ask("POST", BOOKS, SEARCH_BODY, key=None),
    Ask("POST", BOOKS, SEARCH_BODY, key="wrong"),
    Ask("POST", BOOKS, SEARCH_BODY, key=None, headers={"Authorization": "Bearer"}),
    Ask("POST", BOOKS, SEARCH_BODY, key=None, headers={"Authorization": "Basic x"}),
    Ask("POST", BOOKS, SEARCH_BODY, key=None, headers={"Authorization": MASTER}),
    Ask("POST", BOOKS, SEARCH_BODY, key=key_of(SEARCHER)),
    Ask("GET", BOOKS + "?q=dune", key=key_of(SEARCHER)),
    Ask("POST", OTHERS, SEARCH_BODY, key=key_of(BOOKS_ONLY)),
    Ask("POST", BOOKS, SEARCH_BODY, key=key_of(BOOKS_ONLY)),
    Ask("POST", BOOKS, SEARCH_BODY, key=key_of(EXPIRED)),
    Ask("POST", BOOKS, SEARCH_BODY, key=key_of(GONE)),
    Ask("POST", "/indexes/kb/documents", [{"id": 3}], key=key_of(SEARCHER)),
    Ask("GET", "/indexes/kb/documents", key=key_of(SEARCHER)),
    Ask("GET", "/indexes/kb/settings", key=key_of(SEARCHER)),
    Ask("GET", "/indexes/kb/settings", key=key_of(ADMIN)),
    Ask("GET", "/tasks?limit=1&indexUids=kb", key=key_of(ADMIN)),
    Ask("GET", "/keys", key=key_of(SEARCHER)),
    Ask("GET", "/keys", key=None),
    Ask("GET", "/indexes", key=key_of(BOOKS_ONLY)),
    Ask("GET", "/tasks", key=None),
    Ask("GET", "/stats", key=key_of(SEARCHER)),
    Ask("GET", "/version", key=key_of(SEARCHER)),
    Ask("GET", "/health", key=None),
    Ask("GET", "/version", key=None),
    Ask("POST", "/multi-search", {"queries": [{"indexUid": "kb"}, {"indexUid": "ko"}]}, key=key_of(BOOKS_ONLY)),
    Ask("POST", "/multi-search", {"queries": [{"indexUid": "kb"}]}, key=key_of(BOOKS_ONLY)),
    Ask("POST", "/multi-search", {"queries": [{"indexUid": "kb"}]}, key=None),
    Ask("POST", "/indexes/nowhere/search", {}, key=key_of(BOOKS_ONLY)),
    Ask("POST", "/indexes", {"uid": "kx"}, key=key_of(SEARCHER)),
    Ask("DELETE", "/indexes/kb", key=key_of(SEARCHER)),
    # tenant tokens
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"*": {}})),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, ["kb"])),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, ["k*"])),
    Ask("POST", OTHERS, {}, key=tenant_token(SEARCHER, ["kb"])),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"kb": {"filter": "who = 1"}})),
    Ask("POST", BOOKS, {"filter": "who = 2"}, key=tenant_token(SEARCHER, {"kb": {"filter": "who = 1"}})),
    Ask("GET", BOOKS + "?q=dune", key=tenant_token(SEARCHER, {"kb": {"filter": ["who = 1"]}})),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"kb": {"filter": "title = x"}})),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"kb": None})),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"*": {}}, expires=4_000_000_000)),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"*": {}}, expires=1_000_000_000)),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"*": {}}, key="another")),
    Ask("POST", BOOKS, {}, key=tenant_token(GONE, {"*": {}})),
    Ask("POST", OTHERS, {}, key=tenant_token(BOOKS_ONLY, {"*": {}})),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"*": {}}, doggo=1)),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, 7), differs="words for what is malformed"),
    Ask("POST", BOOKS, {}, key="a.b.c", differs="words for what is malformed"),
    Ask("GET", "/indexes/kb/documents", key=tenant_token(ADMIN, {"*": {}})),
    Ask("POST", "/multi-search", {"queries": [{"indexUid": "kb"}]}, key=tenant_token(SEARCHER, {"kb": {"filter": "who = 2"}})),
    Ask("POST", "/multi-search", {"federation": {}, "queries": [{"indexUid": "kb"}, {"indexUid": "ko"}]}, key=tenant_token(SEARCHER, {"kb": {"filter": "who = 2"}, "ko": {}})),
    Ask("POST", "/indexes/kb/facet-search", {"facetName": "who"}, key=tenant_token(SEARCHER, {"kb": {"filter": "who = 2"}})),
    # deleted
    Ask("DELETE", f"/keys/{EXPIRED}"),
    Ask("DELETE", f"/keys/{BOOKS_ONLY}"),
    Ask("DELETE", f"/keys/{key_of(ADMIN)}"),
    Ask("DELETE", f"/keys/{SEARCHER}"),
    Ask("POST", BOOKS, SEARCH_BODY, key=key_of(SEARCHER)),
    Ask("POST", BOOKS, {}, key=tenant_token(SEARCHER, {"*": {}})),
    Ask("POST", "/keys", {"uid": RESERVED, "name": "_miroir:mine", "actions": ["search"], "indexes": ["*"], "expiresAt": None}, differs="names of keys"),
    Ask("DELETE", f"/keys/{RESERVED}", differs="names of keys"),
    Ask("DELETE", "/keys"),
    Ask("DELETE", "/indexes/kb"),
    Ask("DELETE", "/indexes/ko"),
)  # fmt: skip
