"""The engines that a test of local nodes runs with: the embedded node, and Meilisearch where there is one."""

from __future__ import annotations

import os
import shutil

import pytest

from miroir_cli.dev.engines import EngineChoice

ENGINES = [
    EngineChoice.EMBEDDED,
    pytest.param(
        EngineChoice.MEILISEARCH,
        marks=[
            pytest.mark.live,
            pytest.mark.skipif(
                shutil.which(os.environ.get("MIROIR_MEILISEARCH", "meilisearch")) is None,
                reason="no `meilisearch` on the PATH and none named by MIROIR_MEILISEARCH",
            ),
        ],
    ),
]
