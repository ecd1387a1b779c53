"""What the test suites of public clients say of a cluster: run by hand, outside of the repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One suite at one version: how many tests passed on one server, and which of them do not on a cluster."""

    name: str
    version: str
    command: str
    passed: int
    apart: Mapping[str, str]


REFUSED: Final = "refused"
ORDER: Final = "order of hits that are alike"

SUITES: Final[tuple[Suite, ...]] = (
    Suite(
        name="meilisearch-python",
        version="0.43.0",
        command="""
git clone https://github.com/meilisearch/meilisearch-python && cd meilisearch-python
MEILISEARCH_URL=http://127.0.0.1:7700 python -m pytest -o addopts="" -q -rA tests   # the master key is `masterKey`
""",
        passed=372,
        apart={
            "test_multi_search_with_network": f"{REFUSED}: `/network`",
            "test_add_or_update_networks": f"{REFUSED}: `/network`",
            "test_configure_as_leader": f"{REFUSED}: `/network`",
            "test_get_all_networks": f"{REFUSED}: `/network`",
            "test_update_and_get_network_settings": f"{REFUSED}: `/network`",
            "test_render_template_inline": f"{REFUSED}: `/render-template`",
            "test_render_template_without_input": f"{REFUSED}: `/render-template`",
            "test_update_document_by_function": f"{REFUSED}: editing documents by a function",
            "test_update_foreign_keys": f"{REFUSED}: the setting `foreignKeys`",
            "test_update_foreign_keys_to_none": f"{REFUSED}: the setting `foreignKeys`",
            "test_reset_foreign_keys": f"{REFUSED}: the setting `foreignKeys`",
            "test_get_similar_documents_show_performance_details": f"{REFUSED}: details of one server's work",
            "test_add_documents_csv_with_delimiter": ORDER,
            "test_get_documents_offset_optional_params_list_of_fields": ORDER,
        },
    ),
    Suite(
        name="meilisearch-python-sdk",
        version="8.0.1 (`test_client.py` and `test_search.py`)",
        command="""
pip download --no-deps --no-binary :all: meilisearch-python-sdk==8.0.1 && tar xzf meilisearch_python_sdk-8.0.1.tar.gz
cd meilisearch_python_sdk-8.0.1 && pip install . orjson   # asks 127.0.0.1:7700, the master key is `masterKey`
python -m pytest -o addopts="" -q tests/test_client.py tests/test_search.py
""",
        passed=176,
        apart={
            "test_add_or_update_networks": f"{REFUSED}: `/network`",
            "test_get_networks": f"{REFUSED}: `/network`",
        },
    ),
)
