"""Documents and tasks: the same on every server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.server import Server, refusal

CSV = b'id,name:string,price:number,ok:boolean\n20,x,1.5,true\n21,,,\n22,"a,b",3,false\n'


def test_documents_are_replaced_by_post_and_merged_by_put(server: Server) -> None:
    index = server.index([{"id": 1, "a": 1, "b": 2}])
    index.succeed("PUT", "/documents", {"id": 1, "b": 3})
    assert index.documents() == [{"id": 1, "a": 1, "b": 3}]
    index.succeed("POST", "/documents", {"id": 1, "c": 4})
    assert index.documents() == [{"id": 1, "c": 4}]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b'[{"id":1},{"id":"b"}]', "application/json", [{"id": 1}, {"id": "b"}]),
        (b'{"id":1}', "application/json; charset=utf-8", [{"id": 1}]),
        (b'{"id":1}\n{"id":2}\n', "application/x-ndjson", [{"id": 1}, {"id": 2}]),
        (b'{"id":1}{"id":2}', "application/x-ndjson", [{"id": 1}, {"id": 2}]),
        (
            CSV,
            "text/csv",
            [
                {"id": "20", "name": "x", "price": 1.5, "ok": True},
                {"id": "21", "name": None, "price": None, "ok": None},
                {"id": "22", "name": "a,b", "price": 3, "ok": False},
            ],
        ),
    ],
)
def test_every_format_is_read(server: Server, content: bytes, kind: str, expected: list[Any]) -> None:
    index = server.index()
    task = index.task("POST", "/documents", content=content, headers={"content-type": kind})
    assert task["details"] == {"receivedDocuments": len(expected), "indexedDocuments": len(expected)}
    assert index.documents() == expected


def test_csv_takes_a_delimiter(server: Server) -> None:
    index = server.index()
    index.task("POST", "/documents?csvDelimiter=%3B", content=b"id;a\n4;x\n", headers={"content-type": "text/csv"})
    assert index.documents() == [{"id": "4", "a": "x"}]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"", "application/json", (400, "missing_payload")),
        (b"{", "application/json", (400, "malformed_payload")),
        (b"[{},]", "application/json", (400, "malformed_payload")),
        (b'"x"', "application/json", (400, "malformed_payload")),
        (b'{"id":1}\nxx', "application/x-ndjson", (400, "malformed_payload")),
        (b"", "text/csv", (400, "missing_payload")),
        (b"id,a\n1\n", "text/csv", (400, "malformed_payload")),
        (b"id,a:number\n1,x\n", "text/csv", (400, "malformed_payload")),
        (b"id,a:boolean\n1,x\n", "text/csv", (400, "malformed_payload")),
        (b"x", "text/plain", (415, "invalid_content_type")),
        (b"x", "", (415, "missing_content_type")),
    ],
)
def test_bad_payloads_are_refused_at_once(server: Server, content: bytes, kind: str, expected: Any) -> None:
    headers = {"content-type": kind} if kind else {}
    assert refusal(server.index().call("POST", "/documents", content=content, headers=headers)) == expected


def test_an_array_with_something_else_than_documents(server: Server) -> None:
    response = server.index().call("POST", "/documents", [1])
    expected = (400, "malformed_payload") if server.embedded else (500, "internal")
    assert refusal(response) == expected, "difference: document-that-is-no-object"


@pytest.mark.parametrize(
    ("documents", "code"),
    [
        ([{"title": "x"}], "missing_document_id"),
        ([{"id": "a b"}], "invalid_document_id"),
        ([{"id": 1.5}], "invalid_document_id"),
        ([{"id": None}], "invalid_document_id"),
        ([{"id": "x" * 512}], "invalid_document_id"),
        ([{"id": 1}, {"id": 2, "_geo": "x"}], "invalid_document_geo_field"),
        ([{"id": 1, "_geo": {"lat": 1}}], "invalid_document_geo_field"),
        ([{"id": 1, "_geo": {"lat": "x", "lng": 1}}], "invalid_document_geo_field"),
        ([{"id": 1, "_geo": {"lat": 1, "lng": 1, "x": 1}}], "invalid_document_geo_field"),
        ([{"id": 1, "_vectors": 5}], "internal"),
    ],
)
def test_a_wrong_document_fails_the_whole_task(server: Server, documents: list[Any], code: str) -> None:
    index = server.index(settings={"filterableAttributes": ["_geo"]})
    task = index.task("POST", "/documents", documents)
    assert (task["status"], task["error"]["code"]) == ("failed", code)
    assert task["details"] == {"receivedDocuments": len(documents), "indexedDocuments": 0}
    assert index.documents() == []


def test_indexed_documents_are_the_distinct_ids(server: Server) -> None:
    task = server.index().task("POST", "/documents", [{"id": 5}, {"id": "5", "a": 1}, {"id": 6}])
    assert task["details"] == {"receivedDocuments": 3, "indexedDocuments": 2}


def test_a_write_creates_the_index_and_finds_the_key(server: Server) -> None:
    index = server.index()
    index.task("DELETE")
    task = index.task("POST", "/documents", [{"skuId": 1}])
    assert (task["status"], index.call("GET").json()["primaryKey"]) == ("succeeded", "skuId")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"aid": 1, "bid": 2}, "index_primary_key_multiple_candidates_found"),
        ({"name": 1}, "index_primary_key_no_candidate_found"),
    ],
)
def test_a_key_that_cannot_be_found_fails_the_task(server: Server, document: Any, code: str) -> None:
    index = server.index()
    index.task("DELETE")
    assert index.task("POST", "/documents", [document])["error"]["code"] == code


def test_another_primary_key_is_refused_once_there_are_documents(server: Server) -> None:
    task = server.index([{"id": 1}]).task("POST", "/documents?primaryKey=sku", [{"id": 1, "sku": 1}])
    assert task["error"]["code"] == "index_primary_key_already_exists"


def test_skip_creation_only_updates(server: Server) -> None:
    index = server.index([{"id": 1}])
    task = index.task("POST", "/documents?skipCreation=true", [{"id": 1, "a": 1}, {"id": 2}])
    assert task["details"]["indexedDocuments"] == 2
    assert index.documents() == [{"id": 1, "a": 1}]


def test_custom_metadata_stays_on_document_tasks(server: Server) -> None:
    index = server.index()
    assert index.task("POST", "/documents?customMetadata=m:1:x", [{"id": 1}])["customMetadata"] == "m:1:x"
    assert index.task("DELETE", "/documents/1?customMetadata=d")["customMetadata"] == "d"
    assert "customMetadata" not in index.task("PATCH", "/settings", {"stopWords": []})


def test_documents_are_deleted_one_by_one_in_batches_by_filter_and_all(server: Server) -> None:
    index = server.index([{"id": n, "c": n % 2} for n in range(10)], {"filterableAttributes": ["c"]})
    assert index.task("DELETE", "/documents/0")["details"]["deletedDocuments"] == 1
    batch = index.task("POST", "/documents/delete-batch", [1, "2", "zzz"])
    assert batch["details"] == {"providedIds": 3, "originalFilter": None, "deletedDocuments": 2}
    some = index.task("POST", "/documents/delete", {"filter": "c = 1"})
    assert some["details"] == {"providedIds": 0, "originalFilter": '"c = 1"', "deletedDocuments": 4}
    assert [document["id"] for document in index.documents()] == [4, 6, 8]
    assert index.task("DELETE", "/documents")["details"] == {"deletedDocuments": 3}
    assert index.documents() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"filter": ""}, "invalid_document_filter"),
        ({}, "missing_document_filter"),
        ({"filter": "a =="}, "invalid_document_filter"),
    ],
)
def test_wrong_deletions_are_refused(server: Server, body: Any, code: str) -> None:
    assert refusal(server.index([{"id": 1}]).call("POST", "/documents/delete", body)) == (400, code)


def test_freed_places_are_used_again_lowest_first(server: Server) -> None:
    index = server.index([{"id": n} for n in (7, 3, 9, 88)])
    index.task("DELETE", "/documents/7")
    index.succeed("POST", "/documents", [{"id": 77}, {"id": 5}])
    assert [document["id"] for document in index.documents()] == [77, 3, 9, 88, 5]


FETCHED: list[dict[str, Any]] = [{"id": 1, "n": 3, "o": {"x": 1, "y": 2}}, {"id": 2, "n": None}, {"id": 3, "n": 1}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"fields": ["id"]}, [{"id": 1}, {"id": 2}, {"id": 3}]),
        ({"fields": ["*"]}, [{}, {}, {}]),
        ({"fields": ["o.x"]}, [{"o": {"x": 1}}, {}, {}]),
        ({"ids": [3, "1", 99], "fields": ["id"]}, [{"id": 1}, {"id": 3}]),
        ({"filter": "n > 1", "fields": ["id"]}, [{"id": 1}]),
        ({"offset": 1, "limit": 1, "fields": ["id"]}, [{"id": 2}]),
        ({"sort": ["n:asc"], "fields": ["id"]}, [{"id": 3}, {"id": 1}]),
    ],
)
def test_fetching_filters_cuts_and_sorts(server: Server, body: Any, expected: list[Any]) -> None:
    index = server.index(FETCHED, {"filterableAttributes": ["n"], "sortableAttributes": ["n"]})
    answer = index.call("POST", "/documents/fetch", body).json()
    assert answer["results"] == expected
    assert answer["total"] == {"ids": 2, "filter": 1}.get(next(iter(body)), 3)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"limit": "a"}, "invalid_document_limit"),
        ({"foo": 1}, "bad_request"),
        ({"ids": [{}]}, "invalid_document_ids"),
        ({"filter": "id = 1"}, "invalid_document_filter"),
        ({"sort": ["id:asc"]}, "invalid_document_sort"),
    ],
)
def test_wrong_fetches_are_refused(server: Server, body: Any, code: str) -> None:
    assert refusal(server.index([{"id": 1}]).call("POST", "/documents/fetch", body)) == (400, code)


def test_one_document_is_read_by_id(server: Server) -> None:
    index = server.index([{"id": "a", "_vectors": {"e": [1.0]}}])
    assert index.call("GET", "/documents/a").json() == {"id": "a"}
    assert refusal(index.call("GET", "/documents/b")) == (404, "document_not_found")


def test_tasks_are_listed_newest_first_and_paged(server: Server) -> None:
    index = server.index()
    uids = [index.succeed("POST", "/documents", [{"id": n}])["uid"] for n in range(5)]
    path = f"/tasks?indexUids={index.uid}&types=documentAdditionOrUpdate&limit=2"
    page = server.call("GET", path).json()
    assert [task["uid"] for task in page["results"]] == uids[:2:-1]
    assert (page["total"], page["limit"], page["from"], page["next"]) == (5, 2, uids[4], uids[2])
    page = server.call("GET", f"{path}&from={page['next']}").json()
    assert [task["uid"] for task in page["results"]] == [uids[2], uids[1]]
    back = server.call("GET", f"{path}&reverse=true").json()
    assert [task["uid"] for task in back["results"]] == uids[:2]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/tasks/99999999", (404, "task_not_found")),
        ("GET", "/tasks/abc", (400, "invalid_task_uids")),
        ("GET", "/tasks?statuses=foo", (400, "invalid_task_statuses")),
        ("GET", "/tasks?types=foo", (400, "invalid_task_types")),
        ("GET", "/tasks?limit=x", (400, "invalid_task_limit")),
        ("GET", "/tasks?foo=x", (400, "bad_request")),
        ("POST", "/tasks/cancel", (400, "missing_task_filters")),
        ("DELETE", "/tasks", (400, "missing_task_filters")),
    ],
)
def test_wrong_task_requests_are_refused(server: Server, method: str, path: str, expected: Any) -> None:
    assert refusal(server.call(method, path)) == expected


def test_finished_tasks_are_not_canceled_but_deleted(server: Server) -> None:
    index = server.index()
    uid = index.succeed("POST", "/documents", [{"id": 1}])["uid"]
    task = server.wait(server.call("POST", f"/tasks/cancel?uids={uid}"))
    assert task["details"] == {"matchedTasks": 1, "canceledTasks": 0, "originalFilter": f"?uids={uid}"}
    task = server.wait(server.call("DELETE", f"/tasks?uids={uid}"))
    assert task["details"] == {"matchedTasks": 1, "deletedTasks": 1, "originalFilter": f"?uids={uid}"}
    assert refusal(server.call("GET", f"/tasks/{uid}")) == (404, "task_not_found")
