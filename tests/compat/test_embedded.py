"""The searches of the corpus over embedded nodes: what one of them answers, `miroir serve` over three answers as well.

How requests are refused is compared over real servers only (`test_corpus.py`): an embedded node has other words.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from miroir_cli.dev.engine.testing import running_engine
from tests.compat.play import Side, play
from tests.compat.request import MASTER, Ask
from tests.compat.requests import joint
from tests.compat.requests.search import AT, GOOD, PREPARE, REMOVE
from tests.compat.servers import NODES, serving

FINDING = [Ask("POST", AT, body) for body in GOOD]


@pytest.mark.slow
def test_a_cluster_of_embedded_nodes_finds_what_one_finds(tmp_path: Path) -> None:
    with ExitStack() as stack:
        folders = [tmp_path / f"node{number}" for number in range(NODES + 1)]
        urls = [stack.enter_context(running_engine(folder, master_key=MASTER)).url for folder in folders]
        plain = stack.enter_context(Side(urls[0]))
        proxy = stack.enter_context(Side(stack.enter_context(serving(tmp_path, urls[1:]))))
        apart = list(play((*PREPARE, *FINDING, *REMOVE, *joint.REQUESTS), plain, proxy))
    wrong = [each for each in apart if each.plain.status == 200 and each.ask.differs is None]
    assert not wrong, "\n\n".join(map(str, wrong))
