-- present: who a node sees, as a window of the bitmap of its visitors' numbers.
--
-- KEYS  as presence has them
-- ARGV  1 to 4 as guard has them  5 first byte of the window  6 the window
-- reply {'ok', last number, 1 while processes are asked for their marks} | {'absent'|'epoch'}

local last, refused = guard()
if not last then return {refused} end
local bitmap = seen_at(now_ms, grace_ms()) -- who sees nobody says so too
if ARGV[6] ~= '' then
  redis.call('SETRANGE', scratch, ARGV[5], ARGV[6])
  redis.call('BITOP', 'OR', bitmap, bitmap, scratch)
  redis.call('UNLINK', scratch)
end
return {'ok', last, asking and 1 or 0}
