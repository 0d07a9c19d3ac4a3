return { ttl = { type = "number" } }
