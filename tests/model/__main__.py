"""`python -m tests.model`: explore far more than the tests do, one line for each group. Takes minutes."""

from __future__ import annotations

import sys
import time

from tests.model.explore import explore
from tests.model.scenarios import wide


def main() -> int:
    failed = 0
    for name, scenarios in wide().items():
        began = time.process_time()
        states = transitions = ends = 0
        for scenario in scenarios:
            found = explore(scenario)
            states, transitions, ends = states + found.states, transitions + found.transitions, ends + found.ends
            if found.violation:
                failed += 1
                sys.stdout.write(f"{scenario}: {found}\n")
        spent = f"{time.process_time() - began:.0f} s"
        counts = f"{len(scenarios)} scenarios, {states:,} states, {transitions:,} steps, {ends:,} ends"
        sys.stdout.write(f"{name}: {counts}, {spent}\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
