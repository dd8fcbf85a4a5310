-- Asks the monitor about the key of a request. If the request must not pass, the client gets the
-- monitor's answer: 400, 401, 403 or 429, or 503 if the monitor is set to fail closed.
-- If the monitor does not answer, the request passes, unless `closed` is true.

local header = "authorization"
local seconds = 0.25  -- to connect, and to answer
local closed = false

local refusals = { [400] = true, [401] = true, [403] = true, [429] = true, [503] = true }
local passed_on = { "content-type", "retry-after", "www-authenticate" }
local away = {
    status = 503,
    headers = { ["x-xm-decision"] = "block", ["retry-after"] = "5" },
    body = "The monitor does not answer.\n",
}

-- The monitor's answer, or nil. HAProxy's own HTTP client retries for seconds and logs each call.
local function ask(host, port, path, key)
    local socket = core.tcp()
    socket:settimeout(seconds)
    if not socket:connect(host, port) then
        return nil
    end
    local request = "GET " .. path .. " HTTP/1.1\r\nHost: monitor\r\nConnection: close\r\n"
    if key then
        request = request .. header .. ": " .. key .. "\r\n"
    end
    local received = socket:send(request .. "\r\n") and socket:receive("*a")
    socket:close()
    local head, body = (received or ""):match("^(.-\r\n)\r\n(.*)$")
    if not head then
        return nil
    end
    local answer = { status = tonumber(head:match("^HTTP/1%.%d (%d+)")), headers = {}, body = body }
    for name, value in head:gmatch("([^\r\n:]+): *([^\r\n]*)\r\n") do
        answer.headers[name:lower()] = value
    end
    return answer
end

core.register_action("extraction_monitor", { "http-req" }, function(txn, host, port, path)
    local answer = ask(host, tonumber(port), path, txn.f:req_fhdr(header)) or (closed and away)
    local mark = answer and answer.headers["x-xm-mark"]
    if mark then
        txn:set_var("txn.xm_mark", mark)
        txn.http:req_set_header("x-xm-mark", mark)
    end
    if not answer or not refusals[answer.status] or not answer.headers["x-xm-decision"] then
        return
    end
    local reply = txn:reply({ status = answer.status, body = answer.body })
    for _, name in ipairs(passed_on) do
        if answer.headers[name] then
            reply:add_header(name, answer.headers[name])
        end
    end
    txn:done(reply)
end, 3)
