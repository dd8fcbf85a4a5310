local typedefs = require("kong.db.schema.typedefs")

return {
    name = "extraction-monitor",
    fields = {
        { protocols = typedefs.protocols_http },
        {
            config = {
                type = "record",
                fields = {
                    { url = typedefs.url({ required = true }) },  -- …/v1/admit
                    { timeout = { type = "integer", default = 250, gt = 0 } },  -- milliseconds, per step
                    { closed = { type = "boolean", default = false } },  -- refuse while it is away
                },
            },
        },
    },
}
