"""With one rule taken out the hole that it closes opens again: the model bites, and the rule is needed.

The names are those of the holes that were found when the protocol was made.
"""

from __future__ import annotations

from dataclasses import replace

from tests.model.explore import explore
from tests.model.scenario import CLEAR, PUT, Fault, Rules, Scenario
from tests.model.scenarios import (
    AWAY,
    BACK,
    CATCHING_UP,
    FENCED_BEFORE_STALE,
    GIVEN_UP,
    GOES_STALE,
    JOIN,
    JOIN_BESIDE_STRAYS,
    MOVE_READ,
    OLD_LOOK,
    STALE_LEAVES,
    STORE_LOST,
    STRAYS,
    THERE_AND_BACK,
    THIRD_REPLICA,
    TWO_WRITERS,
    WRITES_READ,
)

ONE_RUN = Scenario(replicas=("S-",), runs=(JOIN,), writers=((PUT,),))
ALONE = Scenario(replicas=("S-",), runs=(JOIN,))
UNEXPLAINED, DIFFER, NONE_LEFT, MISREAD = "right is one of", "differ for ever", "no in-sync replica", "a reader got"
LEFT_OVER = "is left over"


def opens(scenario: Scenario, *faults: Fault, without: Rules, shows: str) -> None:
    """Without the rule this violation is found. (With all rules the scenario is one of the other modules', or less.)"""
    broken = explore(replace(scenario, faults=faults, rules=without))
    assert shows in (broken.violation or ""), broken
    assert broken.trace


# writes and reads


def test_h5_a_writer_dies_between_two_nodes() -> None:
    opens(TWO_WRITERS, Fault.CRASH, without=Rules(recovery=False), shows=UNEXPLAINED)


def test_h6_a_late_request_of_a_dead_writer() -> None:
    opens(TWO_WRITERS, Fault.CRASH, without=Rules(fences_before_recovery=False), shows=UNEXPLAINED)


def test_h7_looked_up_and_sent_again() -> None:
    opens(TWO_WRITERS, Fault.LATE, without=Rules(never_resend=False), shows=UNEXPLAINED)


def test_h7_a_replica_with_an_unknown_answer_stays_in_sync() -> None:
    opens(TWO_WRITERS, Fault.LATE, without=Rules(unknown_is_stale=False), shows=UNEXPLAINED)


def test_h9_a_failure_is_noticed_by_its_own_writer_only() -> None:
    opens(TWO_WRITERS, Fault.CRASH, Fault.FAIL, without=Rules(in_order=False), shows=DIFFER)


def test_h10_an_empty_disk_stays_in_sync() -> None:
    opens(TWO_WRITERS, Fault.WIPE, without=Rules(identity=False), shows=DIFFER)


def test_h10_an_empty_disk_is_copied() -> None:
    opens(ALONE, Fault.WIPE, without=Rules(identity=False), shows=UNEXPLAINED)


def test_h15_accepted_but_truncated() -> None:
    opens(TWO_WRITERS, Fault.TRUNCATE, without=Rules(counts_documents=False), shows=UNEXPLAINED)


def test_h16_all_replicas_are_marked() -> None:
    opens(TWO_WRITERS, Fault.FAIL, Fault.FAIL, without=Rules(keeps_last=False), shows=NONE_LEFT)


def test_h22_a_task_that_nobody_recorded() -> None:
    opens(STRAYS, Fault.STRAY, without=Rules(audit=False), shows=DIFFER)


def test_an_old_look_judges_what_was_sent_since() -> None:
    opens(OLD_LOOK, without=Rules(judges_expected_only=False), shows=UNEXPLAINED)


def test_h22_a_switch_hides_what_was_done_to_another_shard_of_the_node() -> None:
    opens(JOIN_BESIDE_STRAYS, Fault.STRAY, without=Rules(audits_by_replica=False), shows=DIFFER)


def test_h28_an_answer_of_a_replica_marked_stale_meanwhile() -> None:
    opens(TWO_WRITERS, Fault.LATE, Fault.FAIL, without=Rules(counts_in_sync_only=False), shows=UNEXPLAINED)


def test_h3_a_reader_with_a_cached_map_after_the_forget() -> None:
    opens(MOVE_READ, without=Rules(end_check=False), shows=MISREAD)


def test_h4_a_reader_with_a_cached_map_after_a_stale_mark() -> None:
    opens(WRITES_READ, Fault.FAIL, without=Rules(end_check=False), shows=MISREAD)


# moves


def test_h1_the_cut_is_what_is_recorded() -> None:
    opens(ONE_RUN, without=Rules(cut_is_settled=False), shows=UNEXPLAINED)


def test_h1_a_catch_up_round_consumes_what_is_still_queued() -> None:
    opens(CATCHING_UP, without=Rules(round_cut_is_settled=False), shows=UNEXPLAINED)


def test_h1_keys_written_during_the_move_are_not_logged() -> None:
    opens(ONE_RUN, without=Rules(logs_keys=False), shows=UNEXPLAINED)


def test_h2_a_delete_without_known_keys() -> None:
    opens(replace(ONE_RUN, writers=((CLEAR,),)), without=Rules(sweep_compares=False), shows=UNEXPLAINED)


def test_h11_a_late_request_to_the_target_passes_the_join() -> None:
    opens(GOES_STALE, Fault.LATE, without=Rules(fences_before_join=False), shows=UNEXPLAINED)


def test_h11_a_late_request_of_a_writer_behind_an_older_fence() -> None:
    opens(FENCED_BEFORE_STALE, Fault.LATE, without=Rules(joins_fenced_only=False), shows=UNEXPLAINED)


def test_h11_what_is_queued_on_the_target_is_not_waited_for() -> None:
    there_and_back = replace(THERE_AND_BACK, writers=(), runs=((AWAY, BACK), (BACK,)))
    opens(there_and_back, Fault.CRASH, without=Rules(empties_queue=False), shows=UNEXPLAINED)


def test_h11_a_foreign_task_on_the_target() -> None:
    opens(ONE_RUN, Fault.STRAY, without=Rules(target_audit=False), shows=UNEXPLAINED)


def test_h11_the_note_is_taken_after_the_comparison() -> None:
    opens(ONE_RUN, Fault.STRAY, without=Rules(notes_before_read=False), shows=UNEXPLAINED)


def test_h11_the_note_is_taken_anew_by_a_catch_up_round() -> None:
    opens(ONE_RUN, Fault.STRAY, without=Rules(rounds_keep_note=False), shows=UNEXPLAINED)


def test_h12_the_source_goes_stale_during_the_move() -> None:
    opens(THIRD_REPLICA, Fault.FAIL, without=Rules(source_in_sync=False), shows=UNEXPLAINED)


def test_h12_the_source_was_about_to_go_stale() -> None:
    opens(THIRD_REPLICA, Fault.FAIL, without=Rules(settles_before_join=False), shows=UNEXPLAINED)


def test_h13_a_late_forget_empties_the_replica_that_came_back() -> None:
    there_and_back = replace(THERE_AND_BACK, writers=())
    opens(there_and_back, Fault.LATE, without=Rules(fences_before_join=False), shows=UNEXPLAINED)


def test_h13_a_late_forget_to_a_node_that_holds_nothing_any_more() -> None:
    there_and_back = replace(THERE_AND_BACK, writers=())
    opens(there_and_back, Fault.LATE, without=Rules(remembers_addressed=False), shows=UNEXPLAINED)


def test_a_late_page_of_a_dead_mover_after_its_copy_was_given_up_and_deleted() -> None:
    opens(GIVEN_UP, Fault.CRASH, without=Rules(fences_before_forgetting=False), shows=LEFT_OVER)


def test_a_late_request_of_a_writer_after_a_stale_copy_has_left_and_was_deleted() -> None:
    opens(STALE_LEAVES, Fault.LATE, without=Rules(fences_before_forgetting=False), shows=LEFT_OVER)


def test_h14_a_late_request_of_a_dead_mover() -> None:
    two_runs = replace(ONE_RUN, runs=(JOIN, JOIN))
    opens(two_runs, Fault.CRASH, without=Rules(fences_before_join=False), shows=UNEXPLAINED)


def test_h29_a_mover_goes_on_after_an_unknown_answer() -> None:
    opens(ONE_RUN, Fault.LATE, without=Rules(fence_anew=False), shows=UNEXPLAINED)


def test_h21_a_write_is_told_as_done_before_the_map_is_published() -> None:
    opens(STORE_LOST, Fault.STORE, without=Rules(publishes_before_acknowledging=False), shows=UNEXPLAINED)


def test_h21_a_replica_forgets_before_the_map_is_published() -> None:
    alone = replace(STORE_LOST, writers=())
    opens(alone, Fault.STORE, without=Rules(publishes_before_forgetting=False), shows=UNEXPLAINED)
