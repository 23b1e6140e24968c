-- stock: how many seats the shop says are left. None left: the room is sold out, until
-- newer stock has some again or an operator reopens the room. What is no newer than the
-- stock that the line knows changes nothing.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 actor  6 acts kept
--       7 revision of the stock, 0 when the shop tells none: it is sold out then
--       8 seats left, 0 for none  9 ms at which that was so by the shop's clock, 0 for
--       not told
-- reply {'ok', 1 when it is newer} | {'absent'|'epoch'|'recovering'}: an act that was
--       lost may still come back
-- In conf: stock_rev is the greatest revision that a fact or a reopening told, stock_ms
-- the time of the newest fact with a revision, which is heard also where a reopening
-- named that revision before. They change each second in a busy sale,
-- which is no act: rev and the audit stream are of sold_out alone.

local last, refused = guard()
if not last then return {refused} end
if settling then return {'recovering'} end
local had = redis.call('HMGET', conf, 'sold_out', 'stock_rev', 'stock_ms')
local known, told = tonumber(had[2] or '0'), tonumber(ARGV[7])
if told > 0 then
  if told <= known then
    -- What a reopening named before: nothing to change, but a moment that is known now.
    if told == known and tonumber(ARGV[9]) > tonumber(had[3] or '0') then redis.call('HSET', conf, 'stock_ms', ARGV[9]) end
    return {'ok', 0}
  end
  redis.call('HSET', conf, 'stock_rev', ARGV[7], 'stock_ms', ARGV[9])
elseif ARGV[9] ~= '0' and tonumber(ARGV[9]) <= tonumber(had[3] or '0') then
  return {'ok', 0} -- of before the shop counted, or from beside one that does
end
local was, is = had[1] or '0', ARGV[8] == '0' and '1' or '0'
if is == was then return {'ok', told > 0 and 1 or 0} end
redis.call('HSET', conf, 'sold_out', is)
local entry = {'old:sold_out', was, 'new:sold_out', is}
if told > 0 then
  for _, v in ipairs({'old:stock_rev', had[2] or '0', 'new:stock_rev', ARGV[7]}) do entry[#entry + 1] = v end
end
redis.call('HSET', stats, 'rev', redis.call('HINCRBY', conf, 'rev', 1))
redis.call('XADD', acts, 'MAXLEN', ARGV[6], '*', 'at', now, 'actor', ARGV[5], 'act', 'set', unpack(entry))
return {'ok', 1}
