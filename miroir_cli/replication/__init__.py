"""How replicas stay equal: writes in one order, what a node's answer means, and what is done about a bad one.

`write` sends one intent, `recover` ends one whose sender died, `settle` learns what the nodes made of them, `verdict`
decides (pure), `members` knows which disks belong to the cluster. `copies` is what the nodes keep of the state;
`rebuild` makes a lost one anew from it, as `election` decides (pure). The rules' names (W1, R2, ...) are those of
`docs/concepts/writes.md`.
"""
