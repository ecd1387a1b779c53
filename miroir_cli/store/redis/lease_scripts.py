"""What Redis does with leases, each in one round trip.

A lease is the key `miroir:lease:<scope>` that runs out, with `<token>:<signature>` as its value: the token grows with
every lease, the signature is its holder's alone. Beside it, for each scope: `queue`, the waiters in the order of their
coming; `seen`, until when each of them counts without having asked again; `last`, whose lease it was last until that is
given back, so that a lease which ran out while nobody else wanted it can be had again by the same holder; `shared` and
`turn` for locks that any number may hold together (see `SHARE`).

Times are Redis's own, in milliseconds: hosts need not agree on theirs.
"""

from __future__ import annotations

from typing import Final

from miroir_cli.store.redis.script import Script

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_LIVING_WAITERS: Final = """
for _, waiter in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now)) do
  redis.call('ZREM', queue, waiter)
  redis.call('ZREM', seen, waiter)
end
local first = redis.call('ZRANGE', queue, 0, 0)[1]
"""

TAKE: Final = Script(
    _NOW
    + """
local lease, last, queue, seen, held, tokens = unpack(KEYS)
local scope, signature, term, waiter, patience, memory = unpack(ARGV)
"""
    + _LIVING_WAITERS
    + """
local holder = redis.call('GET', lease)
if not holder and (not first or first == waiter) then
  local token = redis.call('INCR', tokens)
  local value = token .. ':' .. signature
  redis.call('SET', lease, value, 'PX', term)
  redis.call('SET', last, value, 'PX', memory)
  redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
  redis.call('ZADD', held, now + term, scope)
  if first then
    redis.call('ZREM', queue, waiter)
    redis.call('ZREM', seen, waiter)
  end
  return {token, '', 0}
end
if waiter ~= '' then
  if not redis.call('ZSCORE', queue, waiter) then
    local behind = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')[2] or 0
    redis.call('ZADD', queue, behind + 1, waiter)
  end
  redis.call('ZADD', seen, now + patience, waiter)
  redis.call('PEXPIRE', queue, memory)
  redis.call('PEXPIRE', seen, memory)
end
return {0, holder or '', redis.call('PTTL', lease)}
"""
)
"""Take a lease, if it is free and nobody came before: its token, else 0, the holder's value and how long it lasts.

A `waiter` (empty: it does not wait) gets or keeps its place in the queue, for `patience` milliseconds.
"""

FREE: Final = Script(
    _NOW
    + """
local lease, last, queue, seen, held = unpack(KEYS)
local scope, signature, wake = unpack(ARGV)
local value = redis.call('GET', lease)
if not value or string.sub(value, string.find(value, ':', 1, true) + 1) ~= signature then
  return 0
end
redis.call('DEL', lease, last)
redis.call('ZREM', held, scope)
"""
    + _LIVING_WAITERS
    + """
if first then
  redis.call('RPUSH', wake .. first, 'free')
  redis.call('PEXPIRE', wake .. first, 2000)
end
return 1
"""
)
"""Give a lease back, if it is still this holder's, and wake who waits first."""

RENEW: Final = Script(
    _NOW
    + """
local lease, last, held = unpack(KEYS)
local scope, value, term, memory = unpack(ARGV)
local holder = redis.call('GET', lease)
if holder and holder ~= value then
  return 0
end
if not holder and redis.call('GET', last) ~= value then
  return 0
end
redis.call('SET', lease, value, 'PX', term)
redis.call('SET', last, value, 'PX', memory)
redis.call('ZADD', held, now + term, scope)
return 1
"""
)
"""Have a lease for another term: also one that ran out, if nobody has had it since."""

LEAVE: Final = Script(
    """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
)
"""Wait no longer."""

SHARE: Final = Script(
    _NOW
    + """
local lease, shared, turn = unpack(KEYS)
local signature, term, memory, expected = unpack(ARGV)
redis.call('SETNX', turn, 0)
local this = redis.call('GET', turn)
if expected ~= '' then
  if this ~= expected then return {0, ''} end
else
  local holder = redis.call('GET', lease)
  if holder then return {0, holder} end
end
redis.call('ZADD', shared, now + term, signature)
redis.call('PEXPIRE', shared, memory)
return {1, this}
"""
)
"""Share a lock with others while nobody has, or wants, it alone: 1 and the turn, else 0 and who has it alone.

Turns are counted: whoever has it alone begins another one, and what is done by those of an earlier turn, who have been
away for too long, is refused. With the `expected` turn it is renewed.
"""

ALONE: Final = Script(
    _NOW
    + """
local lease, shared, turn = unpack(KEYS)
redis.call('ZREMRANGEBYSCORE', shared, '-inf', now)
if redis.call('GET', lease) ~= ARGV[1] then return {0, ''} end
local other = redis.call('ZRANGE', shared, 0, 0)[1]
if other then return {0, other} end
redis.call('INCR', turn)
return {1, ''}
"""
)
"""For the holder of a lease that others share: whether they have all given it back, else one of them."""

REGISTER: Final = Script(
    _NOW
    + """
local peer, peers = unpack(KEYS)
local name, told, term = unpack(ARGV)
redis.call('SET', peer, told, 'PX', term)
redis.call('ZREMRANGEBYSCORE', peers, '-inf', now)
redis.call('ZADD', peers, now + term, name)
return 1
"""
)
"""Say that a process lives, for a term."""

SAY: Final = Script(
    _NOW
    + """
local listener, listeners = unpack(KEYS)
local name, said, term, fresh = unpack(ARGV)
if fresh == '0' and redis.call('EXISTS', listener) == 0 then
  return 0
end
redis.call('SET', listener, said, 'PX', term)
redis.call('ZREMRANGEBYSCORE', listeners, '-inf', now)
redis.call('ZADD', listeners, now + term, name)
return 1
"""
)
"""Say what a process knows, for a term: 0 when what it said before has run out, and it is not `fresh`."""
