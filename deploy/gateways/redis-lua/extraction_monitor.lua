-- Enforces the monitor's decisions in OpenResty, Kong, APISIX or nginx with Lua. It reads them from
-- Redis and asks no process of the monitor. See README.md.
--
-- A decision applies under the same conditions as in monitor/alerting/enforcement.py.

local blake2b = require("blake2b")
local cjson = require("cjson.safe")
local redis_client = require(pcall(require, "resty.redis") and "resty.redis" or "nginx.redis")

local M = {}

local ACTIONS = { observe = 1, mark = 2, throttle = 3, challenge = 4, block = 5 }
local ORIGINS = { "", "campaign:", "account:", "operator:" }  -- in the names of decisions
local BURST = 5

local function hexadecimal(bytes)
    return (bytes:gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
    end))
end

-- The pseudonym of a key, see monitor/identity.py. `secret` is XM_IDENTITY_SECRET.
function M.pseudonym(key, secret)
    return "k_" .. hexadecimal(blake2b(key, 12, blake2b(secret, 64, "", ""), "key"))
end

-- The answers to a pipeline. Returns nil and the reason if any command fails.
local function answers(redis)
    local values, reason = redis:commit_pipeline()
    for _, value in ipairs(values or {}) do
        if type(value) == "table" and value[1] == false then
            return nil, value[2]
        end
    end
    return values, reason
end

local function read(redis, subject)
    redis:init_pipeline()
    redis:hgetall("xm:control")
    for _, origin in ipairs(ORIGINS) do
        redis:get("xm:d:" .. origin .. subject)
    end
    local values, reason = answers(redis)
    if not values then
        return nil, reason
    end
    local found = { decisions = {}, switches = {} }
    local switches = table.remove(values, 1)
    for i = 1, #switches, 2 do
        found.switches[switches[i]] = cjson.decode(switches[i + 1])
    end
    for _, value in ipairs(values) do
        local decision = value ~= ngx.null and cjson.decode(value)
        if decision and ACTIONS[decision.action] then  -- else a newer version wrote it
            decision.kind, decision.ties = decision.kind or "", decision.ties or {}
            decision.steps = decision.steps or {}
            decision.expires_at = tonumber(decision.expires_at) or decision.made_at + decision.seconds
            table.insert(found.decisions, decision)
        end
    end
    if #found.decisions == 0 then
        return found
    end
    redis:init_pipeline()
    for _, decision in ipairs(found.decisions) do
        redis:hmget("xm:withdrawn", decision.reason, decision.reason .. "/" .. decision.key)
        redis:hmget("xm:allow", decision.key, unpack(decision.ties))
    end
    values, reason = answers(redis)
    if not values then
        return nil, reason
    end
    for i, decision in ipairs(found.decisions) do
        local for_all, for_key = unpack(values[2 * i - 1])
        decision.withdrawn = for_all ~= ngx.null or for_key ~= ngx.null
        decision.allowed_until = 0
        for _, entry in ipairs(values[2 * i]) do
            local until_time = entry ~= ngx.null and cjson.decode(entry).expires_at or 0
            decision.allowed_until = math.max(decision.allowed_until, until_time)
        end
    end
    return found
end

-- What Redis has on a subject. Returns nil and the reason if it does not answer.
function M.find(subject, options)
    local redis, found = redis_client:new(), nil
    redis:set_timeout(options.timeout)
    local connected, reason = redis:connect(options.host, options.port)
    if connected and options.auth and redis:get_reused_times() == 0 then
        connected, reason = redis:auth(unpack(options.auth))
    end
    if connected then
        found, reason = read(redis, subject)
    end
    if found then
        redis:set_keepalive(60000, 100)
    end
    return found, reason
end

local function is_on(switch, now, default)
    if not switch or (type(switch["until"]) == "number" and switch["until"] <= now) then
        return default
    end
    return switch.on
end

-- The action of a decision at a time: it falls step by step.
local function action_at(decision, now)
    local ends = decision.expires_at
    if now >= ends then
        return "observe"
    end
    for i = #decision.steps, 1, -1 do
        local action, seconds = unpack(decision.steps[i])
        if now >= ends - seconds then
            return action
        end
        ends = ends - seconds
    end
    return decision.action
end

local function applied(decision, switches, now, shadow)
    local general = is_on(switches.shadow, now, shadow)
    if is_on(switches.kill, now, false) or now < decision.allowed_until or decision.withdrawn
        or decision.shadow or is_on(switches["shadow:" .. decision.kind], now, general) then
        return "observe"
    end
    local action = action_at(decision, now)
    if decision.capped and is_on(switches.caps, now, true) and ACTIONS[action] > ACTIONS.throttle then
        return "throttle"
    end
    return action
end

-- The action that applies, and the decision that it follows from.
--   found: of M.find.
--   shadow: XM_DECISIONS__SHADOW.
function M.effective(found, now, shadow)
    local of_person
    for _, decision in ipairs(found.decisions) do
        if decision.origin == "operator" and now < decision.expires_at then
            of_person = decision
        end
    end
    local strongest, from = "observe", nil
    for _, decision in ipairs(of_person and { of_person } or found.decisions) do
        local action = applied(decision, found.switches, now, shadow)
        if ACTIONS[action] > ACTIONS[strongest] then
            strongest, from = action, decision
        end
    end
    return strongest, from
end

-- Seconds until a throttled subject may send its next request; 0 if it may now (GCRA).
local function wait(subject, rate, now)
    local gap, counted = 60 / rate, ngx.shared.xm_throttled
    local earliest = math.max(counted:get(subject) or 0, now)
    if earliest - now > BURST * gap then
        return earliest - now - BURST * gap
    end
    counted:set(subject, earliest + gap, (BURST + 2) * gap)
    return 0
end

local function refuse(status, title, header, value)
    ngx.status = status
    ngx.header["Content-Type"] = "application/problem+json"
    if header then
        ngx.header[header] = value
    end
    ngx.print(cjson.encode({ type = "about:blank", status = status, title = title }))
    return ngx.exit(status)
end

-- Refuse the request in hand, or let it pass. Call it in access_by_lua.
--   key: as the log of requests has it. nil or "": the API refuses by itself.
--   options: host, port, auth ({ password } or { user, password }), secret (XM_IDENTITY_SECRET),
--     shadow (XM_DECISIONS__SHADOW), timeout (ms), rate (requests per minute, where a decision
--     states none), and closed: whether to refuse requests while Redis does not answer.
function M.enforce(key, options)
    ngx.req.clear_header("X-XM-Mark")  -- only the monitor marks requests
    if not key or key == "" then
        return
    end
    local found, reason = M.find(M.pseudonym(key, options.secret), options)
    if not found then
        ngx.log(ngx.WARN, "extraction monitor: Redis at ", options.host, ":", options.port,
            " does not answer: ", reason)
        return options.closed and refuse(503, "The decision is not known", "Retry-After", 5)
    end
    local now = ngx.now()
    local action, decision = M.effective(found, now, options.shadow)
    if action == "block" then
        return refuse(403, "Blocked")
    elseif action == "challenge" then
        return refuse(401, "Challenged", "WWW-Authenticate", "Bearer")
    elseif action == "throttle" then
        local rate = tonumber(decision.rate) or options.rate
        local seconds = wait(decision.key, rate, now)
        return seconds > 0 and refuse(429, "Throttled", "Retry-After", math.ceil(seconds))
    elseif action == "mark" and type(decision.mark) == "string" then
        ngx.req.set_header("X-XM-Mark", decision.mark)
        ngx.header["X-XM-Mark"] = decision.mark
    end
end

return M
