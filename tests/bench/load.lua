-- wrk -s load.lua URL -- METHOD PATH [BODY [ETAG [KEY [FIRST]]]]: what to ask for, and the answer as one line of JSON. With
-- KEY, each request has an Idempotency-Key of its own.
-- %d in PATH goes through the ids 1 to 1,000 in turn, so that no two connections wait for one row, and %k through 0 to 9,
-- so that no answer can be that to the last request; %d in BODY counts, and %n in PATH, from FIRST on.
function init(args)
   local path, body = args[2], args[3] or ""
   -- Another one each time, since a change to the same value is none. wrk does not send the first request that it makes.
   local number = args[6] and tonumber(args[6]) - 1 or os.time() % 100000 * 10000
   wrk.method, wrk.path = args[1], path
   if #body > 0 then wrk.body, wrk.headers["Content-Type"] = body, "application/json" end
   if #(args[4] or "") > 0 then wrk.headers["If-None-Match"] = args[4] end
   if (path .. body):find("%%[dkn]") or #(args[5] or "") > 0 then
      request = function()
         if #(args[5] or "") > 0 then wrk.headers["Idempotency-Key"] = args[5] .. number end
         local target = path:gsub("%%d", number % 1000 + 1):gsub("%%k", number % 10):gsub("%%n", number)
         number = number + 1
         return wrk.format(nil, target, nil, (body:gsub("%%d", number)))
      end
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format('{"requests":%d,"seconds":%.6f,"p50":%.4f,"p99":%.4f,"failed":%d}\n', summary.requests,
      summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
