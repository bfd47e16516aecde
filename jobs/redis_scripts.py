"""The steps on the live record that must not be interrupted, as Lua scripts.

An entry of a video's hash of parts is one of

- ``sent <ms> <queue> <message id>``: a message was, or is about to be, put on the queue;
- ``leased <ms> <owner>``, and a fourth word ``stop`` once the part is no longer wanted;
- ``waiting <ms>``: an error; to be tried again at that time.

Times are Redis' own, in milliseconds, so that the clocks of the hosts do not matter. Names of
keys are derived from the first one within one hash slot. Scripts that write after ``TIME`` need
effects replication, the only kind from Redis 7 on and the default since 5.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function int(number) return string.format('%d', number) end
local now = now_ms()
"""

_ENTRY: Final = (
    _NOW
    + """
local function words(entry)
  local list = {}
  for word in string.gmatch(entry or '', '%S+') do list[#list + 1] = word end
  return list
end
local function owned(entry, owner)
  local list = words(entry)
  return list[1] == 'leased' and list[3] == owner
end
"""
)

#: The history of a part's runs, oldest first: a JSON list in the hash of attempts.
_RUNS: Final = (
    _ENTRY
    + """
local function runs_of(attempts, field)
  return cjson.decode(redis.call('HGET', attempts, field .. '/runs') or '[]')
end
local function keep_runs(attempts, field, runs)
  redis.call('HSET', attempts, field .. '/runs', cjson.encode(runs))
end
"""
)

#: KEYS parts; ARGV field, queue, message id, ttl. 1 if marked, 0 if the part is on its way.
MARK_SENT: Final = (
    _NOW
    + """
local entry = 'sent ' .. int(now) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
local set = redis.call('HSETNX', KEYS[1], ARGV[1], entry)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return set
"""
)

#: KEYS parts, cursor; ARGV field, message id. Removes the mark of that message, and of no other:
#: behind a cursor the part would be missed.
UNMARK: Final = (
    _ENTRY
    + """
local entry = words(redis.call('HGET', KEYS[1], ARGV[1]))
if entry[1] == 'sent' and entry[4] == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
end
"""
)

#: KEYS parts, attempts, leases;
#: ARGV field, member, owner, lease ttl, ttl, host, process id, runs remembered.
#: The counts {starts, errors, drains} with this start, and for how long the part was waited for
#: since it was sent, or -1; nil if the part is not to be taken.
#: An owner that asks again, as after an answer that got lost, starts no second time.
TAKE: Final = (
    _RUNS
    + """
local entry = redis.call('HGET', KEYS[1], ARGV[1])
local state, sent = unpack(words(entry))
local expiry = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[2]) or 0)
local mine = owned(entry, ARGV[3])
if state ~= 'sent' and not mine and not (state == 'leased' and expiry <= now) then return nil end
if not mine then
  redis.call('HSET', KEYS[1], ARGV[1], 'leased ' .. int(now) .. ' ' .. ARGV[3])
  local runs = runs_of(KEYS[2], ARGV[1])
  runs[#runs + 1] = {run = ARGV[3], host = ARGV[6], pid = tonumber(ARGV[7]), began = now}
  while #runs > tonumber(ARGV[8]) do table.remove(runs, 1) end
  keep_runs(KEYS[2], ARGV[1], runs)
end
redis.call('ZADD', KEYS[3], int(now + ARGV[4]), ARGV[2])
local starts = redis.call('HINCRBY', KEYS[2], ARGV[1] .. '/starts', mine and 0 or 1)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
local counts = redis.call('HMGET', KEYS[2], ARGV[1] .. '/errors', ARGV[1] .. '/drains')
local waited = state == 'sent' and math.max(0, now - tonumber(sent)) or -1
return {starts, tonumber(counts[1] or 0), tonumber(counts[2] or 0), waited}
"""
)

#: KEYS parts, leases; ARGV field, member, owner, lease ttl, ttl.
#: 1 if the lease is the owner's, which it becomes again where nobody works on the part.
RENEW: Final = (
    _ENTRY
    + """
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not owned(entry, ARGV[3]) then
  if words(entry)[1] == 'leased' then return 0 end
  redis.call('HSET', KEYS[1], ARGV[1], 'leased ' .. int(now) .. ' ' .. ARGV[3])
end
redis.call('ZADD', KEYS[2], int(now + ARGV[4]), ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
"""
)

#: KEYS parts, attempts; ARGV field, ttl. A running part counts as started once, without a failure.
PROGRESSED: Final = (
    _RUNS
    + """
if words(redis.call('HGET', KEYS[1], ARGV[1]))[1] == 'leased' then
  redis.call('HDEL', KEYS[2], ARGV[1] .. '/errors', ARGV[1] .. '/drains')
  redis.call('HSET', KEYS[2], ARGV[1] .. '/starts', 1)
  local runs = runs_of(KEYS[2], ARGV[1])
  if #runs > 1 then keep_runs(KEYS[2], ARGV[1], {runs[#runs]}) end
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
"""
)

#: KEYS parts, attempts, leases, retries, progress, cursor;
#: ARGV field, member, owner, outcome, pause or '', ttl, code, message.
#: 1 if the lease was the owner's. Said twice, as after an answer that got lost, it counts once;
#: where the start was forgotten, as in an emptied Redis, that counts, too, or else nothing does:
#: an end without a start would hide a crash.
RELEASE: Final = (
    _RUNS
    + """
local field, member = ARGV[1], ARGV[2]
local mine = owned(redis.call('HGET', KEYS[1], field), ARGV[3])
if ARGV[4] ~= 'done' then
  local runs, known, told = runs_of(KEYS[2], field), false, false
  for _, run in ipairs(runs) do
    if run.run == ARGV[3] then
      known, told = true, run.ended ~= nil
      if not told then
        run.ended, run.how, run.code, run.message = now, ARGV[4], ARGV[7], ARGV[8]
        keep_runs(KEYS[2], field, runs)
      end
    end
  end
  if mine and not known then redis.call('HINCRBY', KEYS[2], field .. '/starts', 1) end
  if (mine or known) and not told then
    redis.call('HINCRBY', KEYS[2], field .. '/' .. ARGV[4] .. 's', 1)
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
if not mine then return 0 end
redis.call('HDEL', KEYS[1], field)
redis.call('HDEL', KEYS[5], field)
redis.call('ZREM', KEYS[3], member)
if ARGV[4] ~= 'done' then redis.call('DEL', KEYS[6]) end
if ARGV[4] == 'done' then
  redis.call('HDEL', KEYS[2], field .. '/starts', field .. '/errors', field .. '/drains',
    field .. '/runs')
end
if ARGV[5] ~= '' then
  local due = int(now + ARGV[5])
  redis.call('HSET', KEYS[1], field, 'waiting ' .. due)
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('ZADD', KEYS[4], due, member)
end
return 1
"""
)

#: KEYS leases or retries;
#: ARGV prefix of the parts' keys, state of the entries, most, prefix of the cursors' keys.
#: The members whose time came; they are on their way no more, and behind a cursor would be missed.
POP_LATE: Final = (
    _ENTRY
    + """
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, ARGV[3])
for _, member in ipairs(late) do
  local video, field = string.match(member, '^([^/]+)/(.+)$')
  local parts = ARGV[1] .. video
  if words(redis.call('HGET', parts, field))[1] == ARGV[2] then
    redis.call('HDEL', parts, field)
  end
  redis.call('DEL', ARGV[4] .. video)
  redis.call('ZREM', KEYS[1], member)
end
return late
"""
)

#: KEYS parts, cursor; ARGV prefix of the queues' keys, grace. The fields whose message is gone.
POP_LOST: Final = (
    _ENTRY
    + """
local lost = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local entry = words(all[i + 1])
  if entry[1] == 'sent' and tonumber(entry[2]) <= now - ARGV[2] then
    if redis.call('HEXISTS', ARGV[1] .. entry[3] .. '.msgs', entry[4]) == 0 then
      redis.call('HDEL', KEYS[1], all[i])
      redis.call('DEL', KEYS[2])
      lost[#lost + 1] = all[i]
    end
  end
end
return lost
"""
)

#: KEYS parts; ARGV prefix of the queues' keys, generation. Takes what still waits off its queue,
#: and its mark; how many. What was fetched meanwhile is left to whoever fetched it.
WITHDRAW: Final = (
    _ENTRY
    + """
local count = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local entry = words(all[i + 1])
  if entry[1] == 'sent' and string.match(all[i], '^(%d+)/') == ARGV[2] then
    local queue = ARGV[1] .. entry[3]
    if redis.call('LREM', queue, 1, entry[4]) == 1 then
      redis.call('HDEL', queue .. '.msgs', entry[4])
      redis.call('HDEL', KEYS[1], all[i])
      count = count + 1
    end
  end
end
return count
"""
)

#: KEYS parts; no ARGV. Every running part of the video learns that it is not wanted.
REQUEST_STOP: Final = (
    _ENTRY
    + """
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local entry = words(all[i + 1])
  if entry[1] == 'leased' and not entry[4] then
    redis.call('HSET', KEYS[1], all[i], all[i + 1] .. ' stop')
  end
end
"""
)

#: What of long films is not sent yet: a hash of ``parts milliseconds pool`` by video, and under
#: ``*pool`` the sums, in whole numbers, which never drift. A film that says nothing more in time is
#: forgotten.
_UNSENT: Final = """
local function numbers(text)
  local parts, ms, pool = string.match(text or '', '^(%d+) (%d+) ?(.*)$')
  return tonumber(parts or 0), tonumber(ms or 0), pool
end
local function sum(all, parts, ms)
  local all_parts, all_ms = numbers(all)
  return int(math.max(0, all_parts + parts)) .. ' ' .. int(math.max(0, all_ms + ms))
end
local function drop_unsent(unsent, due, video)
  local parts, ms, pool = numbers(redis.call('HGET', unsent, video))
  redis.call('HDEL', unsent, video)
  if redis.call('ZREM', due, video) == 1 and redis.call('ZCARD', due) == 0 then
    redis.call('DEL', unsent)
  elseif pool then
    pool = '*' .. pool
    redis.call('HSET', unsent, pool, sum(redis.call('HGET', unsent, pool), -parts, -ms))
  end
end
"""

#: KEYS parts, attempts, progress, retries, cursor, unsent, unsent_until; ARGV video id.
#: Running parts keep their leases.
FORGET: Final = (
    _ENTRY
    + _UNSENT
    + """
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if words(all[i + 1])[1] ~= 'leased' then
    redis.call('HDEL', KEYS[1], all[i])
    redis.call('ZREM', KEYS[4], ARGV[1] .. '/' .. all[i])
  end
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[5])
drop_unsent(KEYS[6], KEYS[7], ARGV[1])
"""
)

_WAKE_AFTER: Final = (
    _NOW
    + """
local function wake_after(wakes, video, pause)
  local due = now + pause
  local known = tonumber(redis.call('ZSCORE', wakes, video) or due)
  redis.call('ZADD', wakes, int(math.min(due, known)), video)
end
"""
)

#: KEYS advance, wakes; ARGV owner, ttl, video id. 1 if the owner advances now. Else word is left,
#: and a wake planted for when nobody else is in the way: word that is left with one that died is
#: served by nobody.
BEGIN_ADVANCE: Final = (
    _WAKE_AFTER
    + """
local rests = redis.call('HEXISTS', KEYS[1], 'rest') == 1
if not rests and redis.call('HSETNX', KEYS[1], 'owner', ARGV[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
redis.call('HSET', KEYS[1], 'again', 1)
wake_after(KEYS[2], ARGV[3], rests and redis.call('PTTL', KEYS[1]) or ARGV[2])
return 0
"""
)

#: KEYS advance, wakes; ARGV owner, ttl, video id, rest, 1 to go on.
#: 1 if the owner advances once more: it wants to, somebody left word, or the right was lost
#: meanwhile and is free. Who has lost it to another leaves word: what it wrote since may have come
#: too late to be seen. With a rest nobody looks for so long; word that was left is served then.
END_ADVANCE: Final = (
    _WAKE_AFTER
    + """
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'again', 1)
  return 0
end
local word = redis.call('HDEL', KEYS[1], 'again') == 1
local rest = tonumber(ARGV[4])
if owner and ARGV[5] ~= '1' and (rest > 0 or not word) then
  redis.call('DEL', KEYS[1])
  if rest > 0 then
    redis.call('HSET', KEYS[1], 'rest', 1)
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    if word then wake_after(KEYS[2], ARGV[3], rest) end
  end
  return 0
end
redis.call('HDEL', KEYS[1], 'rest')
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
)

#: KEYS wakes; ARGV video id, pause. An earlier time stands.
WAKE: Final = _WAKE_AFTER + "wake_after(KEYS[1], ARGV[1], ARGV[2])"

#: KEYS wakes; ARGV most. The videos whose time came; they are listed no more.
POP_AWAKE: Final = (
    _NOW
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, ARGV[1])
for _, video in ipairs(due) do redis.call('ZREM', KEYS[1], video) end
return due
"""
)

#: KEYS progress, parts; ARGV field, units, ttl. Only of parts that are on their way.
REPORT: Final = """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
"""

#: KEYS sweeper; ARGV owner and schema, ttl, schema. 1 if the owner is, or now becomes, the one
#: that sweeps: where there is none, or one that knows less.
LEAD: Final = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
  local knows = tonumber(string.match(leader, ' (%d+)$')) or 1
  if knows >= tonumber(ARGV[3]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

#: KEYS sweeper; ARGV owner.
RESIGN: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

#: KEYS office; ARGV owner, ttl. 1 if the owner holds the office, or takes it as nobody does.
HOLD: Final = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

#: KEYS office; ARGV owner.
LEAVE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

#: KEYS pace; ARGV class, predicted and spent seconds, most that is remembered.
NOTE_PACE: Final = """
local names = {ARGV[1] .. '/predicted', ARGV[1] .. '/spent'}
local sums = redis.call('HMGET', KEYS[1], names[1], names[2])
local predicted = tonumber(sums[1] or 0) + tonumber(ARGV[2])
local spent = tonumber(sums[2] or 0) + tonumber(ARGV[3])
local share = math.min(1, tonumber(ARGV[4]) / predicted)
redis.call('HSET', KEYS[1], names[1], string.format('%.3f', predicted * share),
  names[2], string.format('%.3f', spent * share))
"""

#: KEYS unsent, unsent_until; ARGV video, parts, milliseconds, pool, ttl.
NOTE_UNSENT: Final = (
    _NOW
    + _UNSENT
    + """
local said, sums = table.concat({ARGV[2], ARGV[3], ARGV[4]}, ' '), '*' .. ARGV[4]
local found = redis.call('HMGET', KEYS[1], ARGV[1], sums)
local parts, ms, pool = numbers(found[1])
local gone = ARGV[2] == '0'
if pool and (gone or pool ~= ARGV[4]) then
  drop_unsent(KEYS[1], KEYS[2], ARGV[1])
  parts, ms, found[2] = 0, 0, redis.call('HGET', KEYS[1], sums)
end
if not gone then
  redis.call('HSET', KEYS[1], ARGV[1], said, sums, sum(found[2], ARGV[2] - parts, ARGV[3] - ms))
  redis.call('ZADD', KEYS[2], int(now + ARGV[5]), ARGV[1])
end
"""
)

#: KEYS unsent, unsent_until, cursor; ARGV video, parts, milliseconds, pool, ttl, value of the
#: cursor, its ttl or '' to leave it as it is.
MOVE_CURSOR: Final = (
    NOTE_UNSENT
    + """
if ARGV[7] ~= '' then
  redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[7])
else
  redis.call('SET', KEYS[3], ARGV[6], 'XX', 'KEEPTTL')
end
"""
)

#: KEYS retries, unsent, unsent_until, then for each queue its list, its messages and its dead
#: letters; ARGV most messages that are looked at of a queue, most films that are forgotten, pools.
#: Parts that wait after an error, unsent parts and milliseconds of each pool, and for each queue
#: what waits, what is held, what is dead, and the costs and the times of the messages looked at:
#: the longest waiting one, the newest one, and others at equal distances between them.
DEMAND: Final = (
    _NOW
    + _UNSENT
    + """
local late = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', int(now), 'LIMIT', 0, ARGV[2])
for _, video in ipairs(late) do drop_unsent(KEYS[2], KEYS[3], video) end
local found = {redis.call('ZCARD', KEYS[1]), {}}
for i = 3, #ARGV do
  local parts, ms = numbers(redis.call('HGET', KEYS[2], '*' .. ARGV[i]))
  found[2][2 * i - 5] = parts
  found[2][2 * i - 4] = ms
end
for k = 4, #KEYS, 3 do
  local waiting = redis.call('LLEN', KEYS[k])
  local count = math.min(waiting, tonumber(ARGV[1]))
  local ids = {}
  for i = 0, count - 1 do
    local place = count > 1 and math.floor(i * (waiting - 1) / (count - 1)) or 0
    ids[#ids + 1] = redis.call('LINDEX', KEYS[k], place)
  end
  local seen = {}
  for _, message in ipairs(#ids > 0 and redis.call('HMGET', KEYS[k + 1], unpack(ids)) or {}) do
    local read, fields = pcall(cjson.decode, message or '')
    if read and type(fields) == 'table' and type(fields.options) == 'table' then
      seen[#seen + 1] = tostring(tonumber(fields.options.cost) or 0)
      seen[#seen + 1] = int(tonumber(fields.message_timestamp) or now)
    end
  end
  found[#found + 1] = {waiting, redis.call('HLEN', KEYS[k + 1]), redis.call('ZCARD', KEYS[k + 2]),
    seen}
end
return found
"""
)

#: KEYS queue; ARGV channel, name of the queue, most that may wait.
RING: Final = """
if redis.call('LLEN', KEYS[1]) <= tonumber(ARGV[3]) then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
"""

#: KEYS tallies, last batch of the process; ARGV number, ttl in seconds, name, amount, name, …
#: A batch that came before changes nothing.
TALLY: Final = """
if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[1]) then return 0 end
for i = 3, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 1
"""
