"""What tasks are about: a name and the indexes touched, under a number that stays the same when names change.

A task holds the number of its subject only, so that 100,000 tasks of an index have a new name as soon as their few
subjects do. Work that has not ended is about names, whatever they stand for when its turn comes: it has subjects of
its own, which never change, and gets another one when it ends.

- `miroir:task_subjects`: number -> subject, as JSON.
- `miroir:task_names:<name>`: subject, as JSON -> number, for every subject in which the name occurs.
- `miroir:task_touched:<number>`: how many tasks have the subject.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.redis.keys import key

if TYPE_CHECKING:
    from miroir_cli.model import IndexUid
    from miroir_cli.store.redis.transaction import Transaction

SUBJECTS: Final = key("task_subjects")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`index_uid`: the index of a task by its name; `touched`: all that it touches. `incarnation`: that of the intent
    which it stands for. `waiting`: of work that has not ended."""

    index_uid: str | None
    touched: tuple[str, ...]
    incarnation: int | None = None
    waiting: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name in it, each once."""
        own = () if self.index_uid is None else (self.index_uid,)
        return tuple(dict.fromkeys((*own, *self.touched)))

    def written(self) -> str:
        return to_json([self.index_uid, self.touched, self.incarnation, self.waiting])


NOTHING: Final = Subject(index_uid=None, touched=())
"""The subject of tasks that are about no index; its number is 0."""


def names_key(name: str) -> str:
    return key("task_names", name)


def touched_key(number: int) -> str:
    return key("task_touched", number)


def subject_of(text: str) -> Subject:
    index_uid, touched, incarnation, waiting = from_json(text)
    return Subject(index_uid=index_uid, touched=tuple(touched), incarnation=incarnation, waiting=waiting)


async def number_of(tx: Transaction, subject: Subject) -> int:
    """The number of a subject; a new one gets the next."""
    if not subject.names:
        return 0
    names = await tx.hashes(names_key(name) for name in subject.names)
    text = subject.written()
    found = names[0].get(text)
    if found is None:
        found = str(await tx.next("task_subjects"))
        tx.also("HSET", SUBJECTS, found, text)
        for name in names:
            name[text] = found
    return int(found)


async def subjects_named(tx: Transaction, name: str) -> dict[int, Subject]:
    """The subjects in which a name occurs, by their numbers."""
    return subjects_in(await tx.hash(names_key(name)))


def subjects_in(fields: Mapping[str, str]) -> dict[int, Subject]:
    """The subjects that the hash of a name holds."""
    return {int(number): subject_of(text) for text, number in fields.items()}


async def subjects_numbered(tx: Transaction, numbers: Iterable[int]) -> dict[int, Subject]:
    """Subjects by their numbers, as they are called now; nothing is begun again when they get other names meanwhile."""
    wanted = sorted(set(numbers) - {0})
    if not wanted:
        return {0: NOTHING}
    (texts,) = await tx.ask([("HMGET", SUBJECTS, *wanted)], watch=False)
    found = {number: subject_of(text) for number, text in zip(wanted, texts, strict=True) if text is not None}
    return {0: NOTHING, **found}


async def unused_subjects(tx: Transaction) -> list[int]:
    """Those that no task has."""
    (numbers,) = await tx.ask([("HKEYS", SUBJECTS)], watch=False)
    if not numbers:
        return []
    (counts,) = await tx.ask([("MGET", *(touched_key(int(number)) for number in numbers))], watch=False)
    return [int(number) for number, count in zip(numbers, counts, strict=True) if not int(count or 0)]


async def forget_subjects(tx: Transaction, numbers: Sequence[int]) -> None:
    """Take these away, as far as there is still no task that has them: a new one reads the hashes of their names."""
    counts = await tx.texts(map(touched_key, numbers))
    subjects = await subjects_numbered(tx, numbers)
    await tx.hashes({names_key(name) for subject in subjects.values() for name in subject.names})
    for number, count in zip(numbers, counts, strict=True):
        subject = subjects.get(number)
        if int(count or 0) or subject is None:
            continue
        for name in subject.names:
            fields = await tx.hash(names_key(name))
            if fields.get(subject.written()) == str(number):
                del fields[subject.written()]
        tx.also("HDEL", SUBJECTS, number)
        tx.put(touched_key(number), None)


async def rename_subjects(
    tx: Transaction,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, int],
) -> None:
    """Give subjects of all but waiting work the names that follow theirs. Those of the incarnation that a name stands
    for, which is `known`, get the `fresh` one; those of its predecessors keep theirs."""
    names = {str(old): str(new) for old, new in follows.items()}
    incarnations: dict[tuple[str | None, int | None], int] = {(uid, known[uid]): fresh[uid] for uid in fresh}
    renamed: dict[int, tuple[Subject, Subject]] = {}
    for name in names:
        for number, old in (await subjects_named(tx, name)).items():
            if not old.waiting:
                renamed[number] = (old, _renamed(old, names, incarnations))
    for old, _ in renamed.values():
        for name in old.names:
            del (await tx.hash(names_key(name)))[old.written()]
    for number, (_, new) in renamed.items():
        tx.also("HSET", SUBJECTS, number, new.written())
        for name in new.names:
            (await tx.hash(names_key(name)))[new.written()] = str(number)


def _renamed(
    subject: Subject, names: Mapping[str, str], incarnations: Mapping[tuple[str | None, int | None], int]
) -> Subject:
    old = subject.index_uid
    return replace(
        subject,
        index_uid=None if old is None else names.get(old, old),
        touched=tuple(names.get(name, name) for name in subject.touched),
        incarnation=incarnations.get((old, subject.incarnation), subject.incarnation),
    )
