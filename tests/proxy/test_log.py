"""The log of a server: whole lines of JSON, all of them, whoever reads."""

from __future__ import annotations

import io
import json
import logging

import pytest

from miroir_cli.proxy.log import Batches, JsonLines, json_log


def test_everything_logged_is_written_as_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    with json_log():
        for number in range(50):
            logging.getLogger("miroir.serve").info("request", extra={"request": f"r{number}", "ms": 1.5})
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("miroir.serve").exception("failed")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["request"] for line in lines[:-1]] == [f"r{number}" for number in range(50)]
    assert set(lines[0]) == {"time", "level", "event", "request", "ms"}
    assert (lines[-1]["level"], lines[-1]["event"]) == ("error", "failed")
    assert "ValueError: broken" in lines[-1]["error"]


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    handler = Batches(stream, every=0.01)
    handler.setFormatter(JsonLines())
    handler.emit(logging.makeLogRecord({"msg": "lost"}))
    handler.close()
