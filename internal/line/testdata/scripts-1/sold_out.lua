-- sold_out: every seat is booked, says the shop. Final until an operator reopens
-- the room; a repeat changes nothing, and neither does what is older than the stock
-- that the line knows of.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 actor  6 acts kept
--       7 revision of the stock, 0 when the shop tells none
-- reply {'ok'} | {'absent'|'epoch'|'recovering'}: an act that was lost may still come back

local last, refused = guard()
if not last then return {refused} end
if settling then return {'recovering'} end
local had = redis.call('HMGET', conf, 'sold_out', 'stock_rev')
local known, told = tonumber(had[2] or '0'), tonumber(ARGV[7])
if told > 0 and told <= known or told == 0 and had[1] == '1' then return {'ok'} end
redis.call('HSET', conf, 'sold_out', 1)
local entry = {}
if had[1] ~= '1' then entry = {'old:sold_out', '0', 'new:sold_out', '1'} end
if told > 0 then
  redis.call('HSET', conf, 'stock_rev', ARGV[7])
  for _, v in ipairs({'old:stock_rev', had[2] or '0', 'new:stock_rev', ARGV[7]}) do entry[#entry + 1] = v end
end
redis.call('HSET', stats, 'rev', redis.call('HINCRBY', conf, 'rev', 1))
redis.call('XADD', acts, 'MAXLEN', ARGV[6], '*', 'at', now, 'actor', ARGV[5], 'act', 'set', unpack(entry))
return {'ok'}
