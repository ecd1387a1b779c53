"""The nodes' own task queues: how long they are, how fast they go, what failed in them, and taking a task out."""
