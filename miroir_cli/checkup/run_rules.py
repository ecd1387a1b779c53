"""What can be wrong with runs: cut off, stopped, or held up. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import Finding, info, several, span, warning
from miroir_cli.store.journal import RunKind, RunState, StepState, Wanted

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts, RunFacts

GO_ON = {
    RunKind.REBALANCE: "run `miroir rebalance run` to go on with it, or `miroir rebalance cancel` to give it up",
    RunKind.REPAIR: "run `miroir repair`: it is planned anew",
    RunKind.VERIFY: "run `miroir verify`: it begins again",
}


def runs_unfinished(facts: Facts) -> Iterator[Finding]:
    """Runs that have begun and not ended, with nobody at work on them."""
    for run in facts.state.runs:
        if run.alive:
            continue
        record = run.record
        stopped = record.state is RunState.STOPPED
        began = span(max(0.0, facts.now - record.started_at / 1000))
        finding = info if record.kind is RunKind.VERIFY or stopped else warning
        yield finding(
            "run.unfinished",
            str(record.id),
            f"run {record.id} (`{record.title}`), begun {began} ago, was {'stopped' if stopped else 'cut off'} with "
            f"{_done(run)} done",
            GO_ON[record.kind],
        )


def runs_paused(facts: Facts) -> Iterator[Finding]:
    for run in facts.state.runs:
        if run.alive and run.record.wanted is Wanted.PAUSE:
            yield info(
                "run.paused",
                str(run.record.id),
                f"run {run.record.id} (`{run.record.title}`) is paused with {_done(run)} done",
                "run `miroir rebalance resume`",
            )


def steps_held_up(facts: Facts) -> Iterator[Finding]:
    """What keeps the steps of a run from being done, those with one reason together."""
    for run in facts.state.runs:
        reasons: dict[str, int] = {}
        for step in run.steps:
            if step.error is not None and not step.state.ended:
                reasons[step.error] = reasons.get(step.error, 0) + 1
        for reason, count in reasons.items():
            yield warning(
                "run.held-up",
                str(run.record.id),
                f"run {run.record.id} (`{run.record.title}`): {several(count, 'step')} "
                f"{'is' if count == 1 else 'are'} held up: {reason}",
                "mend that, and the run goes on: `miroir rebalance status` shows how far it is"
                if run.alive
                else f"mend that, then {GO_ON[run.record.kind]}",
            )


def _done(run: RunFacts) -> str:
    done = sum(step.state is StepState.DONE for step in run.steps)
    return f"{done:,} of {several(len(run.steps), 'step')}"


RUN_RULES = (runs_unfinished, runs_paused, steps_held_up)
