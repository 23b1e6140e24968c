-- bury: put in front of the scripts that end a room for good, behind the prelude.
--
-- KEYS  the room's, as the prelude and presence name them, the tombstone last
-- ARGV  1 now override in µs  2 actor  3 acts kept  4 ms that tombstone and acts are
--       kept, then the script's own
-- reply the script's

local tombstone = KEYS[#KEYS]
local now = clock(ARGV[1])
local now_ms = math.floor(now / 1000)

-- bury: takes away all of a line but its acts, and puts the tombstone in its place,
-- in one act: there is no moment in which neither is there. UNLINK, so that Redis frees millions of visitors beside its work; and first,
-- since the first write of a script must not ask for memory: a full Redis has to let
-- rooms go.
local function bury(act)
  local epoch = redis.call('HGET', conf, 'epoch') or ''
  local line = {}
  for i = 1, #KEYS - 1 do
    if KEYS[i] ~= acts then line[#line + 1] = KEYS[i] end
  end
  redis.call('UNLINK', unpack(line))
  redis.call('DEL', tombstone)
  redis.call('HSET', tombstone, 'epoch', epoch, 'at', now, 'actor', ARGV[2])
  redis.call('XADD', acts, 'MAXLEN', ARGV[3], '*', 'at', now, 'actor', ARGV[2], 'act', act)
  redis.call('PEXPIRE', tombstone, ARGV[4])
  redis.call('PEXPIRE', acts, ARGV[4])
end
