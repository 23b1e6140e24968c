-- sold_out: every seat is booked, says the shop. Final until the operator adds
-- seats; a repeat changes nothing.
--
-- KEYS  1 conf  2 seq  3 acts
-- ARGV  1 epoch  2 mark  3 now override in µs  4 actor  5 acts kept
-- reply {'ok'} | {'absent'|'epoch'|'recovering'}

local last, refused = guard(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not last then return {refused} end
if redis.call('HGET', KEYS[1], 'sold_out') == '1' then return {'ok'} end
-- HDEL first: the first write of a script must not ask for memory, and a full
-- Redis has to hear this too.
redis.call('HDEL', KEYS[1], 'sold_out')
redis.call('HSET', KEYS[1], 'sold_out', 1)
redis.call('HINCRBY', KEYS[1], 'rev', 1)
redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[5], '*', 'at', clock(ARGV[3]), 'actor', ARGV[4], 'act', 'set',
  'old:sold_out', '0', 'new:sold_out', '1')
return {'ok'}
