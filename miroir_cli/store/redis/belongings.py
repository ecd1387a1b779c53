"""What is kept under the name of an index beside the index itself: it goes with it, and is gone with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from miroir_cli.store.redis.imports import forget_imports, rename_imports
from miroir_cli.store.redis.runs import rename_steps
from miroir_cli.store.redis.services import forget_cursors, forget_page, rename_cursors, rename_pages

if TYPE_CHECKING:
    from miroir_cli.model import Index, IndexUid
    from miroir_cli.store.redis.transaction import Transaction


async def rename_belongings(
    transaction: Transaction,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, Index],
) -> None:
    """Imports, steps of runs, cursors and search pages of each name get the name that follows it.

    What is of the incarnation of the index that is `known` by a name gets the `fresh` one.
    """
    await rename_imports(transaction, follows, fresh, known)
    await rename_steps(transaction, follows, fresh, known)
    await rename_cursors(transaction, follows)
    await rename_pages(transaction, follows)


async def forget_belongings(transaction: Transaction, uid: str) -> None:
    """The index is gone. Runs stay: they tell what was done."""
    await forget_imports(transaction, uid)
    await forget_cursors(transaction, uid)
    await forget_page(transaction, uid)
