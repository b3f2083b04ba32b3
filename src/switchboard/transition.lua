-- One transition of a switch: the state and its history change together, or not at all. JSON is never parsed here, for
-- Lua's own rounds numbers and turns [] into {}.
-- KEYS: state, history. ARGV: whether there was a state, what it was, the new one, the step of the history, its two values,
-- the most entries of a history. Answers 1: made, 2: it stands there already, 0: somebody else was faster.
local there = redis.call('GET', KEYS[1])
if there == ARGV[3] then return 2 end
if ARGV[1] == '1' then
    if there ~= ARGV[2] then return 0 end
elseif there then
    return 0
end
local step, most = ARGV[4], tonumber(ARGV[7])
if step == 'complete' then
    local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    if newest[1] ~= ARGV[5] then return 0 end
    redis.call('ZREM', KEYS[2], ARGV[5])
    redis.call('ZADD', KEYS[2], newest[2], ARGV[6])
elseif step == 'append' then
    redis.call('RPUSH', KEYS[2], ARGV[5])
    redis.call('LTRIM', KEYS[2], -most, -1)
elseif step == 'insert' then
    redis.call('ZADD', KEYS[2], ARGV[6], ARGV[5])
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -most - 1)
end
redis.call('SET', KEYS[1], ARGV[3])
return 1
