"""The first sentence of every command's help, so that `miroir --help` loads none of their modules.

Written by docs/generate.py; change the commands, then run `make docs`.
"""

from typing import Final

SUMMARIES: Final = {
    "init": "Write a topology file, after asking the nodes if they answer.",
    "status": "Show the nodes, the indexes and what is in sync.",
    "verify": "Compare the replicas of every shard, document by document.",
    "repair": "Make replicas equal again.",
    "node": "List, add, drain, remove and replace nodes.",
    "rebalance": "Make the cluster what its topology file says, and steer runs.",
    "tasks": "Look at the nodes' queues, wait for them, and take tasks out.",
    "journal": "Show what was done to the cluster, by whom and when.",
    "doctor": "Check nodes, replicas, state and keys, and say what to type.",
    "config": "Check the topology file, and show what it comes to.",
    "index": "Create, show and delete indexes, and change their settings.",
    "alias": "Let a name stand for an index, and later for another one.",
    "import": "Import documents from files, or copy them from one Meilisearch.",
    "get": "Print a document as JSON.",
    "delete": "Delete documents by id, by filter, or all of them.",
    "search": "Search an index over all its shards.",
    "similar": "Find documents near another one by their vectors.",
    "explain": "Show which nodes a search would ask for which shards, and why.",
    "locate": "Show where a document lives: its shard and its nodes.",
    "facet-search": "Find values of a facet by their beginning, with their counts.",
    "browse": "List documents in the order of their primary keys, or sorted.",
    "export": "Write all documents of an index to a file, print or copy them.",
    "backup": "Back up indexes as files, check, restore and thin them out.",
    "serve": "Answer Meilisearch's API for the whole cluster until stopped.",
    "state": "Bring back a lost state.",
    "schema": "Print the JSON Schema of what a command prints with `--json`.",
    "plan-capacity": "Estimate what a cluster needs: disk, memory, time, searches.",
    "dev": "Start and stop local nodes, without installing anything.",
    "demo": "Watch miroir work: real data on three nodes, and one that dies.",
    "completions": "Print the script that completes commands in your shell.",
}
