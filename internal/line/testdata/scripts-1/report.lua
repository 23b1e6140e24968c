-- report: a process tells its mark, and hears of this life of the line.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them
-- reply {'ok', last number, 1 while processes are asked} | {'absent'|'epoch'}

local last, refused = guard()
if not last then return {refused} end
return {'ok', last, asking and 1 or 0}
