"""The control plane's JSON API: routes, who may call them, how values are read and shown."""
