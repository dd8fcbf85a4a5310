-- Asks the monitor about the credential of a request. If the request must not pass, the client gets
-- the monitor's answer: 400, 401, 403 or 429, or 503 if the monitor is set to fail closed.

local http = require("resty.http")

local Monitor = {
    PRIORITY = 940,  -- after authentication, before rate limiting and the AI plugins
    VERSION = "1.0.0",
}

local REFUSALS = { [400] = true, [401] = true, [403] = true, [429] = true, [503] = true }
local MOST_HEADERS = 1000  -- the most that Kong reads
local PASSED_ON = { "Content-Type", "Retry-After", "WWW-Authenticate" }

function Monitor:access(conf)
    local credential, consumer = kong.client.get_credential(), kong.client.get_consumer()
    local sent = {}
    kong.service.request.clear_header("X-XM-Mark")  -- only the monitor marks requests
    if credential then  -- the log names it by its id
        sent["X-API-Key"] = credential.id
    else
        -- All lines of each: get_header returns the first, and the API may read the last.
        local headers, truncated = kong.request.get_headers(MOST_HEADERS)
        if truncated then
            return kong.response.exit(431, "Send fewer headers.\n", {})
        end
        sent["Authorization"] = headers["authorization"]
        sent["X-API-Key"] = headers["x-api-key"]
        sent["apikey"] = headers["apikey"]
    end
    sent["X-XM-Account"] = consumer and consumer.id
    local client = http.new()
    client:set_timeout(conf.timeout)
    local answer, reason = client:request_uri(conf.url, { headers = sent, keepalive_pool = 64 })
    if not answer then
        kong.log.warn("the monitor at ", conf.url, " does not answer: ", reason)
        if conf.closed then
            return kong.response.exit(503, "The monitor does not answer.\n", { ["Retry-After"] = 5 })
        end
        return
    end
    if REFUSALS[answer.status] and answer.headers["X-XM-Decision"] then
        local headers = {}
        for _, name in ipairs(PASSED_ON) do
            headers[name] = answer.headers[name]
        end
        return kong.response.exit(answer.status, answer.body, headers)
    end
end

return Monitor
