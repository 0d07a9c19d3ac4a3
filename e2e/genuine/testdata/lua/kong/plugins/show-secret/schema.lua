return {
  name = "show-secret",
  fields = {
    { config = {
      type = "record",
      fields = {
        { secret = { type = "string", required = true, referenceable = true } },
      },
    } },
  },
}
