-- sign: a process lives, and says what it does.
--
-- KEYS  1 signs
-- ARGV  1 now override in µs  2 id of the process  3 what it says  4 ms for
--       which a silent one is kept  5 most processes
-- reply {'ok', signs of the dead removed} | {'full'}
-- Only a process that starts makes the hash grow, so it is the one that takes the
-- signs of the dead away: no other call looks at more than its own.

local signs, at = KEYS[1], 'at:' .. ARGV[2]
local now, kept = clock(ARGV[1]), tonumber(ARGV[4])
-- HDEL first: the first write of a script must not ask for memory, and a full
-- Redis has to show who is alive.
local known = redis.call('HDEL', signs, ARGV[2])
local alive, removed = 0, 0
if known == 0 then
  for _, field in ipairs(redis.call('HKEYS', signs)) do
    if string.sub(field, 1, 3) == 'at:' then
      if tonumber(redis.call('HGET', signs, field)) < now - kept * 1000 then
        redis.call('HDEL', signs, field, string.sub(field, 4))
        removed = removed + 1
      else
        alive = alive + 1
      end
    end
  end
  if alive >= tonumber(ARGV[5]) then return {'full'} end
end
redis.call('HSET', signs, ARGV[2], ARGV[3], at, text(now))
redis.call('PEXPIRE', signs, kept)
return {'ok', removed}
