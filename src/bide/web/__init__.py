"""The HTTP edge: routes parse, call `Service` and render; no rule of the model lives here."""
