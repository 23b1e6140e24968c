-- bury: put in front of the scripts that end a room for good, behind the guard.
--
-- KEYS  the room's, as the prelude and presence name them, the tombstone last
-- ARGV  1 to 4 as guard has them  5 actor  6 acts kept  7 ms that tombstone and acts
--       are kept, then the script's own
-- reply the script's

local tombstone = KEYS[#KEYS]

-- bury: takes away all of a line but its acts, and puts the tombstone in its place,
-- in one act: there is no moment in which neither is there. UNLINK, so that Redis frees
-- millions of visitors beside its work; and first, since the first write of a script
-- must not ask for memory: a full Redis has to let rooms go.
local function bury(act)
  local epoch = redis.call('HGET', conf, 'epoch') or ''
  local line = {}
  for i = 1, #KEYS - 1 do
    if KEYS[i] ~= acts then line[#line + 1] = KEYS[i] end
  end
  redis.call('UNLINK', unpack(line))
  redis.call('DEL', tombstone)
  redis.call('HSET', tombstone, 'epoch', epoch, 'at', now, 'actor', ARGV[5])
  redis.call('XADD', acts, 'MAXLEN', ARGV[6], '*', 'at', now, 'actor', ARGV[5], 'act', act)
  redis.call('PEXPIRE', tombstone, ARGV[7])
  redis.call('PEXPIRE', acts, ARGV[7])
end
