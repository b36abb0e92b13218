-- The same call over and over, made once from a file: header lines, an empty line, the body.
-- wrk then sends it as it is, without running Lua for each call.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for line in file:lines() do
    if line == "" then break end
    local name, value = line:match("^(.-): (.*)$")
    wrk.headers[name] = value
  end
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"calls": %d, "seconds": %.6f, "p50": %.1f, "p99": %.1f, "wrong": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout
  ))
end
