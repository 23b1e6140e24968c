-- sold_out: every seat is booked, says the shop. Final until the operator adds
-- seats; a repeat changes nothing.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 actor  6 acts kept
-- reply {'ok'} | {'absent'|'epoch'}

local last, refused = guard()
if not last then return {refused} end
if redis.call('HGET', conf, 'sold_out') == '1' then return {'ok'} end
redis.call('HSET', conf, 'sold_out', 1)
redis.call('HINCRBY', conf, 'rev', 1)
redis.call('XADD', acts, 'MAXLEN', ARGV[6], '*', 'at', now, 'actor', ARGV[5], 'act', 'set',
  'old:sold_out', '0', 'new:sold_out', '1')
return {'ok'}
