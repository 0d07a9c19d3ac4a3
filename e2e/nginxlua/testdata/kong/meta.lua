return { version = "3.9.1" }
